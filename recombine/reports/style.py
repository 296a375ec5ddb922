"""The style sheet of all pages; it follows the reader's light or dark setting."""

STYLE = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1b1f24; --soft: #5f6873; --line: #e3e5e8;
  --accent: 59 130 246; --alarm: 220 60 50 }
@media (prefers-color-scheme: dark) { :root { --paper: #14161a; --card: #1c1f25; --ink: #e8eaed; --soft: #9aa4b0;
  --line: #2e333b; --accent: 96 165 250; --alarm: 248 113 113 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 1180px; margin: 0 auto; padding: 1.5rem 1rem 4rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .3rem } h3 { font-size: 1rem; margin: 1.5rem 0 .3rem }
header p, .lead { color: var(--soft); margin: .2rem 0 1rem }
small { color: var(--soft); font-size: .78rem }
.warning { border-left: 4px solid rgb(var(--alarm)); background: rgb(var(--alarm) / .12); padding: .7rem 1rem; font-weight: 600 }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: .7rem }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem .9rem; display: flex; flex-direction: column }
.tile span { color: var(--soft); font-size: .85rem } .tile strong { font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums }
.wide { overflow-x: auto; padding-bottom: .4rem }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums }
th { font-weight: 600; text-align: left; vertical-align: bottom; padding: .3rem .6rem }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--paper); z-index: 1; white-space: nowrap }
thead th { color: var(--soft); font-size: .8rem } tbody tr { border-top: 1px solid var(--line) }
tbody th { vertical-align: middle } td { padding: .35rem .6rem; white-space: nowrap;
  background: linear-gradient(rgb(var(--accent) / .55), rgb(var(--accent) / .55)) .6rem 100% / calc((100% - 1.2rem) * var(--share, 0)) 3px no-repeat }
td small { display: block } td.none { color: var(--soft) }
.matrix td { text-align: center; padding: .3rem .45rem; background: rgb(var(--alarm) / calc(var(--damage, 0) * .8)); font-size: .78rem }
.matrix td.own { background: rgb(var(--accent) / .16); box-shadow: inset 0 0 0 2px rgb(var(--accent) / .7) } td.words { white-space: normal; min-width: 9rem }
.matrix .turned { vertical-align: bottom; padding: .3rem } .turned span { writing-mode: vertical-rl; transform: rotate(180deg) }
.images th { text-align: center; padding: .1rem .3rem; white-space: nowrap; position: static } .images td { padding: 0 1px; background: none }
.images thead tr:first-child th { color: var(--ink) } .images tbody tr { border: 0 } .images td img { margin: auto }
img { display: block; max-width: 100%; height: auto } .images img { max-width: none }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem } figure { margin: 0; max-width: 100% }
figcaption { color: var(--soft); font-size: .85rem; text-align: center; padding-top: .2rem } .curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); gap: 1rem }
.curves img { width: 100% }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .3rem 1rem; font-size: .9rem } dt { font-weight: 600 } dd { margin: 0 }
details, pre { max-width: 100%; overflow-x: auto; font-size: .8rem } summary { cursor: pointer }
@media (max-width: 600px) { dl { grid-template-columns: 1fr } dd { margin-bottom: .5rem } .tiles { grid-template-columns: 1fr 1fr } .tile strong { font-size: 1.35rem } }
"""
