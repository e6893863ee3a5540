namespace QuantBuild.Worker.Reporting;

/// <summary>How pages look, in light and in dark, on a desk and on a phone.</summary>
internal static class StyleSheet
{
    // Without the characters that XML would escape: a browser reads a style as it stands.
    public const string Text = """
        :root {
          color-scheme: light dark;
          --paper: #ffffff; --ink: #1b1f24; --muted: #57606a; --line: #d8dee4; --soft: #f4f6f8; --accent: #1f5fa8; --mark: #e8f0fa; --alarm: #a33b00;
        }
        @media (prefers-color-scheme: dark) {
          :root { --paper: #12161b; --ink: #e4e7eb; --muted: #9aa5b1; --line: #2d353e; --soft: #1a2027; --accent: #79aef0; --mark: #1b2a3d; --alarm: #f0a070; }
        }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
        main { max-width: 58rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
        main.wide { max-width: 76rem; }
        h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
        h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
        p { margin: .6rem 0; max-width: 46rem; }
        .sub, .note, figcaption { color: var(--muted); font-size: .9rem; }
        .sub { margin: .3rem 0 0; overflow-wrap: anywhere; }
        .verdict { font-size: 1.1rem; max-width: none; margin: 1.25rem 0; padding: .7rem 1rem; background: var(--soft); border-left: 4px solid var(--accent); }
        .verdict.bad { border-left-color: var(--alarm); }
        .stats { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1px; margin: 1.25rem 0; background: var(--line); border: 1px solid var(--line); }
        .stats div { background: var(--paper); padding: .6rem .9rem; }
        .stats dt { color: var(--muted); font-size: .85rem; }
        .stats dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
        .stats dd small { display: block; color: var(--muted); font-size: .85rem; }
        .scroll { overflow-x: auto; margin: .8rem 0; }
        table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
        .caption { color: var(--muted); font-size: .9rem; margin: 1rem 0 .4rem; }
        .caption + .scroll { margin-top: 0; }
        th, td { padding: .34rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; white-space: nowrap; }
        thead th { font-weight: 600; vertical-align: bottom; white-space: normal; background: var(--soft); }
        tbody th, thead th:first-child { text-align: left; font-weight: 400; }
        tbody th, thead th:first-child { padding-left: .5rem; position: sticky; left: 0; }
        tbody th { background: var(--paper); }
        .texts td, .texts thead th, td.spanning { text-align: left; white-space: normal; overflow-wrap: anywhere; }
        .texts tbody th { width: 16rem; color: var(--muted); }
        td.spanning { color: var(--alarm); min-width: 20rem; }
        tr.marked th, tr.marked td { background: var(--mark); }
        tr.marked th { font-weight: 600; }
        .small { color: var(--muted); font-size: .85em; }
        code { font: .9em ui-monospace, "Cascadia Mono", Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }
        figure { margin: 1rem 0; }
        svg { display: block; width: 100%; min-width: 34rem; max-width: 55rem; height: auto; font: 11px system-ui, "Liberation Sans", sans-serif; fill: var(--ink); }
        svg .axis { fill: var(--muted); }
        svg .grid { stroke: var(--line); stroke-width: 1; }
        svg .bar, svg .cell { fill: var(--accent); }
        svg .dot { fill: var(--accent); stroke: var(--paper); stroke-width: 1.5; }
        svg .dot.marked { fill: var(--alarm); }
        svg .float { fill: none; stroke: var(--muted); stroke-dasharray: 3 2; }
        svg .base { stroke: var(--muted); stroke-width: 1; stroke-dasharray: 4 3; }
        summary { cursor: pointer; color: var(--accent); font-size: .92rem; }
        ul.warnings { padding-left: 1.1rem; } ul.warnings li { margin: .4rem 0; max-width: 46rem; }
        a { color: var(--accent); }
        @media (max-width: 40rem) { main { padding: 1.25rem .9rem 3rem; } h1 { font-size: 1.4rem; } th, td { padding: .34rem .45rem; } tbody th { white-space: normal; min-width: 7rem; } .texts tbody th { width: 8.5rem; } }
        @media print { main { max-width: none; } details { display: none; } }
        """;
}
