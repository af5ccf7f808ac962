"""What a company adds: the plug-in contract, loading with versions checked, and a fence around every call.

A plug-in that is written for another contract is not loaded; one that raises, hangs or grows is stopped, counted and, after
`FAULTS` faults, left out until it is restored. The others, and the turn, go on.
"""

from __future__ import annotations

from assistant.plugins.confined import Confined as Confined
from assistant.plugins.contract import MENU as MENU
from assistant.plugins.contract import Around as Around
from assistant.plugins.contract import Authority as Authority
from assistant.plugins.contract import BotPlugin as BotPlugin
from assistant.plugins.contract import Event as Event
from assistant.plugins.contract import Keep as Keep
from assistant.plugins.contract import MenuItem as MenuItem
from assistant.plugins.contract import NoConfig as NoConfig
from assistant.plugins.contract import NotAllowed as NotAllowed
from assistant.plugins.contract import Permissions as Permissions
from assistant.plugins.contract import PluginContext as PluginContext
from assistant.plugins.contract import Store as Store
from assistant.plugins.contract import Tell as Tell
from assistant.plugins.contract import offer as offer
from assistant.plugins.isolated import Invoked as Invoked
from assistant.plugins.isolated import Remote as Remote
from assistant.plugins.isolated import stand_in as stand_in
from assistant.plugins.loading import Loaded as Loaded
from assistant.plugins.loading import build as build
from assistant.plugins.loading import config_schema as config_schema
from assistant.plugins.loading import find as find
from assistant.plugins.loading import find_isolated as find_isolated
from assistant.plugins.loading import load_file as load_file
from assistant.plugins.loading import plugin_folder as plugin_folder
from assistant.plugins.loading import plugin_in as plugin_in
from assistant.plugins.loading import satisfies as satisfies
from assistant.plugins.records import Records as Records
from assistant.plugins.running import FAULTS as FAULTS
from assistant.plugins.running import Plugins as Plugins
