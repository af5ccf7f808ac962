"""The parts that think: the chain of models, what looks at their answers, and what they may cost."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from assistant.parts.resources import Resources

if TYPE_CHECKING:
    from assistant.budgets import Budgets
    from assistant.llm import ChatModel
    from assistant.llm.guardrails import Guardrail
    from assistant.llm.tokens import Prices
    from assistant.safety import Guard


class ModelParts(Resources):
    """Models behind one another, their guard, their prices and budgets."""

    @cached_property
    def model(self) -> ChatModel:
        """The configured models, one after the other."""
        if self._model:
            return self._model
        return self._open_model(self.settings.model)

    def model_of(self, spec: str) -> ChatModel:
        """The model with that SPEC, opened once; the configured one for an empty SPEC."""
        if not spec:
            return self.model
        if spec not in self._models:
            self._models[spec] = self._open_model(spec)
        return self._models[spec]

    def _open_model(self, spec: str) -> ChatModel:
        from assistant.llm.models import open_model

        return open_model(spec, region=self.settings.region, api_key=self._model_key(spec), failed=self._passed_over)

    def _model_key(self, spec: str) -> str | None:
        """The key for the server that `spec` names; None where it names none."""
        return self.secrets.get("model").get("api_key") if "@" in spec else None

    def _passed_over(self, model: str) -> None:
        from assistant.observability import MODEL_FAILOVERS

        self.metrics.emit((MODEL_FAILOVERS, 1), model=model)

    def _ask(self, prompt: str) -> str:
        """The model's whole answer. Raises Unavailable, also where only the built-in engine is left, or ModelError."""
        from contextlib import closing

        from assistant.errors import Unavailable
        from assistant.llm import ChatMessage, ChatRequest, Done, TextDelta
        from assistant.observability import COMPLETION_TOKENS, PROMPT_TOKENS

        request = ChatRequest(
            system="You read documents and answer with JSON.",
            messages=(ChatMessage(role="user", text=prompt),),
            max_tokens=1000,
            temperature=0.0,
            seconds=60.0,
            tenant=self.settings.tenant,
        )
        text = ""
        with closing(self.model.stream(request)) as events:  # type: ignore[type-var]  # models give generators
            for event in events:
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Done) and event.model != "builtin":
                    used = event.usage
                    self.metrics.emit((PROMPT_TOKENS, used.prompt), (COMPLETION_TOKENS, used.completion), model=event.model)
                    return text
        raise Unavailable("the model does not answer")

    @cached_property
    def guard(self) -> Guard:
        """What looks at the model's answers."""
        from assistant.safety import Guard, redactions

        settings = self.settings
        return Guard(
            tenant=settings.tenant,
            hosts=settings.link_hosts.split(","),
            redacts=redactions(settings.redact_answers),
            moderator=self._moderator(),
        )

    def _moderator(self) -> Guardrail | None:
        if not self.settings.guardrail:
            return None
        from assistant.llm.guardrails import Guardrail

        return Guardrail(self.settings.guardrail, client=lambda: self.client("bedrock-runtime"))

    @cached_property
    def _prices(self) -> Prices:
        """What the models' tokens cost."""
        from assistant.llm.tokens import Prices

        return Prices.from_json(self.settings.model_prices)

    @cached_property
    def budgets(self) -> Budgets:
        """What may be spent on the model in a day."""
        from assistant.budgets import Budgets

        settings = self.settings
        return Budgets(self.table, cost=self._prices.cost, timezone=settings.timezone, tenant=settings.tenant, clock=self.clock)
