"""Which colour a thing has: the same on every page, told apart without red and green."""

#: Okabe & Ito (2008), in the order in which versions get them. Class ``c0`` … ``c7``.
#: Black is a grey and yellow a dark gold here, so that both read on light and dark.
OKABE_ITO = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#8c7a00",
    "#6b7a80",
)


def of_version(number: int) -> str:
    """Return the class of the colour of version `number` (1 for the first)."""
    return f"c{(number - 1) % len(OKABE_ITO)}"


#: What a chart needs to stand alone in a file; a page brings its own, by the same names.
STANDALONE = (
    ".sp-chart{font:11px system-ui,sans-serif;font-variant-numeric:tabular-nums;"
    "background:#fff}"
    ".sp-chart text{fill:#5b6b70}.sp-chart .strong{fill:#16262b;font-weight:600}"
    ".sp-chart .ink{fill:#16262b}.axis,.grid{stroke:#dfe6e7;stroke-width:1}"
    ".line{fill:none;stroke-width:1.75;stroke-linejoin:round;stroke-linecap:round}"
    ".faint{stroke-width:1;opacity:.55}.dashed{stroke-dasharray:4 3}"
    ".band{stroke:none;opacity:.16}.fill{stroke:none;opacity:.85}.dot{stroke:#fff}"
    ".zone{fill:#0f766e;opacity:.07}.bound{stroke:#0f766e;stroke-dasharray:5 3}"
    ".limit{stroke:#b8430a;stroke-dasharray:5 3}.rule{stroke:#c8d2d4}"
    ".sp-chart .bound-text{fill:#0b5f58}.sp-chart .limit-text{fill:#a53a06}"
    ".sp-chart .onfill{fill:#fff;font-weight:600}"
    ".sp-chart .ondark{fill:#16262b;font-weight:600}"
    ".accent{--c:#0f766e}.state-off{--c:#c2410c}.state-on{--c:#0f766e}"
    ".state-settling{--c:#1d6fa5}.state-held{--c:#7c4fb5}.muted{--c:#8a9a9e}"
    + "".join(f".c{i}{{--c:{c}}}" for i, c in enumerate(OKABE_ITO))
    + ".line{stroke:var(--c)}.band,.fill,.dot,.bar{fill:var(--c)}"
    ".outline{fill:none;stroke:var(--c);stroke-width:1.5}.hit{fill:transparent}"
)


def standalone(svg: str) -> str:
    """Return `svg` with its own style, for saving as a file."""
    head, _, rest = svg.partition("</desc>")
    return f"{head}</desc><style>{STANDALONE}</style>{rest}"
