//! What is shown, and when.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracehound::Command;

use crate::capture::Captured;
use crate::lines;
use crate::model::Model;
use crate::screen::Screen;
use crate::watch::{self, Report};

/// The tree is not drawn more often than this.
const DRAW: Duration = Duration::from_millis(50);

/// Threads change their names without an event.
const NAMES: Duration = Duration::from_secs(1);

/// Where the reports are shown.
pub(crate) enum View {
    /// As lines.
    Lines(Box<dyn Write>),
    /// As a tree, below what the command writes.
    Tree(Screen, Captured),
}

impl View {
    /// Lines in a file.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        Ok(View::Lines(Box::new(File::create(path)?)))
    }

    /// Lines on standard error.
    pub(crate) fn lines() -> Self {
        View::Lines(Box::new(io::stderr()))
    }

    /// A tree on standard error, if that is a terminal which can move its cursor. What the
    /// command would write to a terminal comes here instead.
    pub(crate) fn terminal(command: &mut Command) -> io::Result<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        if dumb || !io::stderr().is_terminal() {
            return Ok(View::lines());
        }
        Ok(View::Tree(Screen::default(), Captured::new(command)?))
    }

    /// Shows what is reported, until nobody is left who could report.
    pub(crate) async fn show(self, reported: Receiver<Report>) {
        match self {
            View::Lines(out) => show_lines(out, reported).await,
            View::Tree(screen, captured) => show_tree(screen, captured, reported).await,
        }
    }
}

async fn show_lines(mut out: Box<dyn Write>, mut reported: Receiver<Report>) {
    let mut model = Model::default();
    while let Some(report) = reported.recv().await {
        let line = lines::line(&report, &model);
        // At once and in one piece. Whoever read it may be gone, which ends nothing.
        let _ = out.write_all(line.as_bytes());
        model.apply(&report);
    }
}

async fn show_tree(mut screen: Screen, mut captured: Captured, mut reported: Receiver<Report>) {
    let mut model = Model::default();
    let mut drawing = every(DRAW);
    let mut naming = every(NAMES);
    let mut drawn = true;
    loop {
        tokio::select! {
            report = reported.recv() => match report {
                Some(report) => model.apply(&report),
                None => break,
            },
            text = captured.next() => screen.above(&text),
            _ = drawing.tick(), if !drawn => {
                draw(&mut screen, &model);
                drawn = true;
                continue;
            }
            _ = naming.tick() => model.refresh(watch::name),
        }
        drawn = false;
    }
    screen.above(&captured.rest());
    draw(&mut screen, &model);
}

fn draw(screen: &mut Screen, model: &Model) {
    let (rows, columns) = Screen::room();
    screen.draw(&model.lines(rows, columns));
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
