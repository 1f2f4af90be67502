"""`PAGE`: the frame and the style sheet of a report as a web page, for its title and what is in it."""

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{
  color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif;
  --page: #f6f7f9; --card: #fff; --text: #1c2430; --quiet: #5d6878; --line: #dfe3e8;
  --passed: #8fb3d9; --refused: #d1363f; --unavailable: #8a8f98; --shadow: #e0a63a; --told: #7a5fb8;
  --c0: #d1363f; --c1: #4477aa; --c2: #228833; --c3: #b89b1e; --c4: #3fa7c7; --c5: #aa3377; --others: #8a8f98
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --page: #12161c; --card: #1b2129; --text: #e4e8ee; --quiet: #9aa5b4; --line: #323b47;
    --passed: #4f7aa8; --refused: #ff6b70; --unavailable: #8a93a0; --shadow: #e3b155; --told: #a98be0;
    --c0: #ff6b70; --c1: #6fa3d8; --c2: #56b56a; --c3: #d8c04f; --c4: #6fcbe6; --c5: #d67bb0; --others: #8a93a0
  }}
}}
body {{ max-width: 68rem; margin: 2rem auto; padding: 0 1rem; background: var(--page); color: var(--text) }}
h1 {{ font-size: 1.5rem; margin: 0 }}
h2 {{ font-size: 1.1rem; margin: 2rem 0 .6rem }}
.about, .note, figcaption, .legend, .tile {{ color: var(--quiet); font-size: .9rem }}
.about {{ margin: .2rem 0 1rem }}
.card, figure, .tile, .table {{
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem
}}
.tiles {{ display: flex; flex-wrap: wrap; gap: .8rem }}
.tile {{ min-width: 8rem }}
.tile b {{ display: block; font-size: 1.5rem; line-height: 1.3; color: var(--text) }}
.tile.refused b {{ color: var(--refused) }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); gap: .8rem }}
figure {{ margin: 0 }}
figcaption b {{ color: var(--text); margin-right: .5em; overflow-wrap: anywhere }}
svg {{ display: block; width: 100%; height: auto }}
svg text {{ fill: var(--quiet); font-size: 12px; font-variant-numeric: tabular-nums }}
svg .peak, svg .cut {{ fill: var(--text) }}
svg .grid {{ stroke: var(--line) }}
svg .axis {{ stroke: var(--quiet) }}
.passed {{ fill: var(--passed) }} .refused {{ fill: var(--refused) }}
.unavailable {{ fill: var(--unavailable) }} .shadow {{ fill: var(--shadow) }} .told {{ fill: var(--told) }}
.c0 {{ fill: var(--c0) }} .c1 {{ fill: var(--c1) }} .c2 {{ fill: var(--c2) }} .c3 {{ fill: var(--c3) }}
.c4 {{ fill: var(--c4) }} .c5 {{ fill: var(--c5) }} .others {{ fill: var(--others) }}
.key {{ display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px }}
.key.passed {{ background: var(--passed) }} .key.refused {{ background: var(--refused) }}
.key.unavailable {{ background: var(--unavailable) }} .key.shadow {{ background: var(--shadow) }}
.key.told {{ background: var(--told) }}
.key.c0 {{ background: var(--c0) }} .key.c1 {{ background: var(--c1) }} .key.c2 {{ background: var(--c2) }}
.key.c3 {{ background: var(--c3) }} .key.c4 {{ background: var(--c4) }} .key.c5 {{ background: var(--c5) }}
.key.others {{ background: var(--others) }}
.legend {{ margin: .3rem 0 0 }} .legend span {{ margin-right: 1.2em }} .note {{ margin: .2rem 0 0 }}
.table {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line) }}
tr:last-child td {{ border-bottom: 0 }}
th {{ color: var(--quiet); font-weight: 600; white-space: nowrap }}
td {{ font-variant-numeric: tabular-nums; overflow-wrap: anywhere }}
.number {{ text-align: right }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}</body>
</html>
"""
