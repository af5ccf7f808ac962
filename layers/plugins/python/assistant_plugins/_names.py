"""Names of people in a sentence, in English and Chinese, where the sentence is known to be about a meeting or a person."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MAIL = r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}"
_LATIN = r"[A-Z][\w'’-]*\.?(?:[ -](?!(?:And|With|On|At|Next|Tomorrow|Today|From|For|Free|Busy|About)\b)[A-Z][\w'’-]*){0,2}"

_SURNAMES = (
    "赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏水窦章云苏潘葛奚范彭郎鲁韦昌马苗凤花方俞任袁柳"
    "酆鲍史唐费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐于时傅皮卞齐康伍余元卜顾孟平黄和穆萧尹姚邵湛汪祁毛禹狄米贝明臧计伏成戴谈宋茅庞"
    "熊纪舒屈项祝董梁杜阮蓝闵席季麻强贾路娄危江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡凌霍虞万支柯管卢莫房裘缪干解应宗丁宣邓郁单杭"
    "洪包诸左石崔吉钮龚程嵇邢滑裴陆荣翁荀羊於惠甄曲家封芮羿储靳汲邴糜松井段富巫乌焦巴弓牧隗山谷车侯宓蓬全郗班仰秋仲伊宫宁仇栾"
    "暴甘钭厉戎祖武符刘景詹束龙叶幸司韶郜黎蓟薄印宿白怀蒲台从鄂索咸籍赖卓蔺屠蒙池乔阴胥能苍双闻莘党翟谭贡劳逄姬申扶堵冉宰郦雍"
    "却璩桑桂濮牛寿通边扈燕冀郏浦尚农温别庄晏柴瞿阎充慕连茹习宦艾鱼容向古易慎戈廖庾终暨居衡步都耿满弘匡国文寇广禄阙东欧殳沃利蔚"
    "越夔隆师巩厍聂晁勾敖融冷訾辛阚那简饶空曾毋沙乜养鞠须丰巢关蒯相查后荆红游竺权逯盖益桓公肖覃"
)
_DOUBLE = "欧阳|上官|司马|诸葛|东方|皇甫|尉迟|公孙|慕容|令狐|司徒|夏侯"
_STOPS = (
    "$|[^\u4e00-\u9fff]|开会|开个|开|聊|讨论|谈|见|碰|一起|今天|今晚|明天|明早|明晚|后天|大后|下周|下个|下午|上午|中午|晚上|早上|"
    "周|星期|本周|这周|几点|什么|谁|在|有|是|的|去|吃|约|会|和|跟|与|及|同|吗|忙|空|参加|来|日程|方便|时间|能|可以|直属|向|归|属于|这个"
)
_HAN = rf"(?:(?:{_DOUBLE})|[{_SURNAMES}])[\u4e00-\u9fff]{{1,2}}?(?={_STOPS})"
_BEFORE = r"(?:^|(?<=[\s，,、。；;：:“\"（(和跟与约叫请邀给对问帮是及同看查上下]))"
_HAN_NAME = re.compile(rf"{_BEFORE}({_HAN})")
_WEEKDAY = re.compile(r"周[一二三四五六日天末]|[上下]周|时间|明天|今天|会议|大家|我们|你们|他们")

_NAME = rf"(?:{_MAIL}|{_LATIN}|{_HAN})"
_LISTED = re.compile(
    rf"\b(?:with|invite|inviting|and|between|for|[Ii]s|[Aa]re|[Dd]oes|[Ww]hen is|[Ww]hen are)\s+"
    rf"({_NAME}(?:\s*(?:,|;|&|、|，|\band\b|,\s*and\b)\s*{_NAME})*)"
)
_LOWER = re.compile(r"\bwith\s+([a-z][a-z'’-]+(?:(?:\s*,\s*|\s+and\s+)[a-z][a-z'’-]+)*)")
_AND = re.compile(r"(?<!\s)\s*+(?:,\s*+and\b|,|;|&|、|，|\band\b|和|跟|与|及)\s*+")
_MENTION = re.compile(r"@([\w\u4e00-\u9fff][\w\u4e00-\u9fff.·-]{0,39}(?: [A-Z][\w.-]{0,39})?)")
_ME = re.compile(
    r"\b(?:am I|I am|I'm|my (?:calendar|schedule|day)|do I)\b|我(?!们|想|要|帮|需要|得)(?=.{0,8}(?:有空|空闲|忙|日程|安排|时间))",
    re.IGNORECASE,
)
_NOBODY = frozenset(
    re.findall(
        r"\w+",
        "the a an my our your us me them him her everyone everybody all you no nobody team monday tuesday wednesday "
        "thursday friday saturday sunday tomorrow today next this that it at on in and",
    )
)
_NO_NAMES = frozenset(
    re.findall(
        r"\w+",
        "I Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August "
        "September October November December Tomorrow Today Next This Please The A Is Are Does When Who What Can Could "
        "Book Schedule Set Plan Meeting Room English Chinese",
    )
)


def names_in(text: str) -> str:
    """The people that a sentence about a meeting names, joined by ", "; "me" for its writer; empty for none."""
    found: list[str] = []
    if _ME.search(text):
        found.append("me")
    found += re.findall(_MAIL, text)
    rest = re.sub(_MAIL, " ", text)
    found += [m[1].rstrip(".-") for m in _MENTION.finditer(rest)]
    rest = _MENTION.sub(" ", rest)
    for listed in _LISTED.finditer(rest):
        found += [n for n in _AND.split(listed[1]) if n]
    for listed in _LOWER.finditer(rest):
        found += [n.title() for n in _AND.split(listed[1]) if n and n not in _NOBODY]
    found += [m[1] for m in _HAN_NAME.finditer(rest) if not _WEEKDAY.search(m[1])]
    return ", ".join(_different(n.strip() for n in found if n.split(" ")[0] not in _NO_NAMES))


def split_names(text: str) -> list[str]:
    """The names in an answer to "With whom?"."""
    known = [n for n in names_in(text).split(", ") if n]
    bare = re.sub(r"^(?:with|和|跟|与|约)\s*", "", text.strip(" .。!！?？"), flags=re.IGNORECASE)
    listed = _different(n.strip() for n in _AND.split(bare) if n.strip())
    return known if len(known) >= len(listed) else listed


def _different(names: Iterable[str]) -> list[str]:
    kept: list[str] = []
    for name in names:
        if name and not any(name.lower() == k.lower() for k in kept):
            kept.append(name)
    return [n for n in kept if not any(n != k and n in k.split(" ") for k in kept)]
