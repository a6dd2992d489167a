//! One line for each event.

use crate::model::Model;
use crate::watch::{Parent, Report, What};

/// The line of a report, which the model does not know yet.
pub(crate) fn line(report: &Report, model: &Model) -> String {
    let Report { tid, tgid, what } = report;
    let name = match what {
        What::Began { name, .. } => name,
        What::Became { former, .. } => model.name(*former).unwrap_or("?"),
        _ => model.name(*tid).unwrap_or("?"),
    };
    let text = match what {
        What::Began { .. } if tid != tgid => format!("begins, a thread of {tgid}"),
        What::Began { parent, .. } => match parent {
            Parent::Own => "begins".to_string(),
            Parent::Process(parent) => format!("begins, a child of {parent}"),
        },
        What::Became { former, command } if former != tid => {
            format!("becomes {command}, by its thread {former}")
        }
        What::Became { command, .. } => format!("becomes {command}"),
        What::Stopped(signal) => format!("stopped by {signal}"),
        What::Continued => "continues".to_string(),
        What::Ended(how) => how.clone(),
    };
    format!("{tid} {name}: {text}\n")
}
