//! The drawing for the README: an SVG with a bar for each tracer, all on one axis.
//!
//! A few rectangles and texts, written by hand: a library that plots would draw more and
//! not leave text as text. The file has no scripts, and its colours follow the reader's
//! preference for light or dark.

use std::fmt::{self, Write};
use std::fs;
use std::io;
use std::path::Path;

use crate::cases::{By, Drawn, drawn};
use crate::results::{Results, Row, Spread};

/// All lengths are in pixels of the drawing.
const WIDTH: f64 = 800.0;
const MARGIN: f64 = 20.0;
/// The first bar's upper edge.
const TOP: f64 = 92.0;
/// From one bar to the next.
const STEP: f64 = 28.0;
const BAR: f64 = 16.0;
/// The axis.
const ZERO: f64 = 280.0;
const UNIT: f64 = 110.0;
/// A longer bar is cut off here, so that the short ones can be told apart.
const END: f64 = 3.0;
/// The numbers.
const NUMBERS: f64 = ZERO + END * UNIT + 34.0;

const STYLE: &str = "
    text { font: 14px system-ui, sans-serif; fill: #1f2328 }
    .title { font-size: 17px; font-weight: 600 }
    .note { font-size: 12px; fill: #59636e }
    .page { fill: #ffffff; stroke: #d1d9e0 }
    .grid { stroke: #d1d9e0 }
    .one { stroke: #59636e; stroke-dasharray: 4 3 }
    .range { stroke: #1f2328; stroke-width: 1.5 }
    .loop { fill: #afb8c1 }
    .ours { fill: #218bff }
    .peer { fill: #e09b13 }
    .cut { fill: none; stroke: #ffffff; stroke-width: 3 }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .note { fill: #9198a1 }
      .page { fill: #0d1117; stroke: #3d444d }
      .grid { stroke: #3d444d }
      .one { stroke: #9198a1 }
      .range { stroke: #f0f6fc }
      .loop { fill: #656c76 }
      .ours { fill: #4493f8 }
      .peer { fill: #bb8009 }
      .cut { stroke: #0d1117 }
    }
";

/// Writes the drawing.
///
/// # Errors
///
/// Those of writing the file.
pub(crate) fn write(results: &Results, path: &Path) -> io::Result<()> {
    let text = draw(results).map_err(io::Error::other)?;
    fs::write(path, text)
}

fn draw(results: &Results) -> Result<String, fmt::Error> {
    let rows: Vec<_> = drawn()
        .filter_map(|drawn| Some((drawn, results.row(drawn.name)?)))
        .collect();
    let bottom = TOP + STEP * rows.len() as f64;
    let height = bottom + 84.0;
    let mut svg = String::new();
    let out = &mut svg;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">"#
    )?;
    writeln!(out, "  <title>What a stop at a system call costs</title>")?;
    writeln!(out, "  <style>{STYLE}  </style>")?;
    writeln!(
        out,
        r#"  <rect class="page" x="0.5" y="0.5" width="{}" height="{}" rx="6"/>"#,
        WIDTH - 1.0,
        height - 1.0
    )?;
    text(
        out,
        "title",
        MARGIN,
        34.0,
        "What a stop at a system call costs",
    )?;
    let bare = results.row(BARE).and_then(Row::micros);
    text(out, "note", MARGIN, 56.0, &subtitle(bare))?;
    axis(out, bottom)?;
    for (index, (drawn, row)) in rows.iter().enumerate() {
        bar(out, TOP + STEP * index as f64, drawn, row, results)?;
    }
    text(out, "note", MARGIN, bottom + 48.0, &first_note(results))?;
    text(out, "note", MARGIN, bottom + 66.0, &second_note(results))?;
    writeln!(out, "</svg>")?;
    Ok(svg)
}

/// What all are compared with.
const BARE: &str = crate::cases::FLOOR;

fn subtitle(bare: Option<Spread>) -> String {
    let micros = bare.map_or_else(String::new, |bare| {
        format!(", {:.1} µs a stop", bare.median)
    });
    format!("times the bare loop of waitid and PTRACE_SYSCALL{micros}; shorter is better")
}

fn first_note(results: &Results) -> String {
    format!(
        "One tracee that makes cheap calls, on the tracer's CPU. Bar: median of {} rounds; line and brackets: their range.",
        results.rounds
    )
}

fn second_note(results: &Results) -> String {
    format!("{}, {}", results.machine, results.date)
}

fn axis(out: &mut String, bottom: f64) -> fmt::Result {
    for tick in 0..=END as u32 {
        let x = ZERO + UNIT * f64::from(tick);
        let class = if tick == 1 { "one" } else { "grid" };
        let top = TOP - 8.0;
        writeln!(
            out,
            r#"  <line class="{class}" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/>"#
        )?;
        text(out, "note", x - 4.0, bottom + 18.0, &tick.to_string())?;
    }
    Ok(())
}

fn bar(out: &mut String, y: f64, drawn: &Drawn, row: &Row, results: &Results) -> fmt::Result {
    let base = y + BAR - 3.0;
    text(out, "name", MARGIN, base, drawn.label)?;
    let Some(ratio) = results.ratio(row, BARE) else {
        let why = row
            .failure
            .as_ref()
            .map_or("", |failure| failure.why.as_str());
        return text(
            out,
            "note",
            ZERO + 8.0,
            base,
            &format!("not measured: {why}"),
        );
    };
    let class = match (drawn.is_loop, row.by) {
        (true, _) => "loop",
        (false, By::Us) => "ours",
        (false, By::Peer) => "peer",
    };
    let x = |value: f64| ZERO + UNIT * value.min(END + 0.2);
    let width = x(ratio.median) - ZERO;
    writeln!(
        out,
        r#"  <rect class="{class}" x="{ZERO}" y="{y}" width="{width:.1}" height="{BAR}" rx="2"/>"#
    )?;
    if ratio.median > END {
        let (left, end) = (x(END) + 2.0, y + BAR + 2.0);
        let start = y - 2.0;
        writeln!(
            out,
            r#"  <path class="cut" d="M{} {start} L{left} {end} M{} {start} L{} {end}"/>"#,
            left + 6.0,
            left + 14.0,
            left + 8.0
        )?;
    } else if ratio.max > ratio.min {
        let (from, to, middle) = (x(ratio.min), x(ratio.max), y + BAR / 2.0);
        writeln!(
            out,
            r#"  <line class="range" x1="{from:.1}" y1="{middle}" x2="{to:.1}" y2="{middle}"/>"#
        )?;
    }
    numbers(out, base, ratio)
}

fn numbers(out: &mut String, y: f64, ratio: Spread) -> fmt::Result {
    let Spread { median, min, max } = ratio;
    text(out, "name", NUMBERS, y, &format!("{median:.2}"))?;
    if max > min {
        text(
            out,
            "note",
            NUMBERS + 44.0,
            y,
            &format!("({min:.2} to {max:.2})"),
        )?;
    }
    Ok(())
}

fn text(out: &mut String, class: &str, x: f64, y: f64, text: &str) -> fmt::Result {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    writeln!(
        out,
        r#"  <text class="{class}" x="{x}" y="{y}">{text}</text>"#
    )
}
