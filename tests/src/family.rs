//! A tracee and all that comes of it, followed to the end.

use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use tracehound::{Event, Tid, Tracee};

use crate::soon;

/// What happened to one tracee.
#[derive(Debug)]
pub struct History {
    /// Its id when it joined.
    pub tid: Tid,
    /// Its events, the last of which is terminal.
    pub events: Vec<Event>,
}

impl History {
    /// Its terminal event.
    ///
    /// # Panics
    ///
    /// Never for what [`Family::to_the_end`] gives.
    pub fn end(&self) -> &Event {
        self.events.last().expect("an end")
    }

    /// All but its terminal event, and the first if that is `Started`.
    pub fn life(&self) -> &[Event] {
        let start = usize::from(matches!(self.events.first(), Some(Event::Started(_))));
        &self.events[start..self.events.len() - 1]
    }
}

type Happening = (usize, Option<Event>, Option<Tracee>);

/// Tracees whose children join them.
#[derive(Default)]
pub struct Family {
    streams: SelectAll<BoxStream<'static, Happening>>,
    histories: Vec<History>,
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.histories.fmt(f)
    }
}

/// The events of a tracee with the children that they bring; then its end.
fn happenings(key: usize, tracee: Tracee) -> BoxStream<'static, Happening> {
    let step = move |tracee: Option<Tracee>| async move {
        let mut tracee = tracee?;
        let Some(event) = tracee.next().await else {
            return Some(((key, None, None), None));
        };
        let birth = event.birth().copied();
        let child = birth.and_then(|birth| tracee.take_child(&birth));
        Some(((key, Some(event), child), Some(tracee)))
    };
    stream::unfold(Some(tracee), step).boxed()
}

impl Family {
    /// A family of one.
    pub fn of(tracee: Tracee) -> Self {
        let mut family = Family::default();
        family.join(tracee);
        family
    }

    /// Takes one more in. Its events are asked for from now on.
    pub fn join(&mut self, tracee: Tracee) {
        self.histories.push(History {
            tid: tracee.tid(),
            events: Vec::new(),
        });
        let key = self.histories.len() - 1;
        self.streams.push(happenings(key, tracee));
    }

    /// The next event of any of them, with the id that it had when it joined; nothing when
    /// all have ended. Asking for it resumes whoever had the one before.
    ///
    /// # Panics
    ///
    /// If a stream breaks its promise: an event after the terminal one, or none such.
    pub async fn next(&mut self) -> Option<(Tid, Event)> {
        loop {
            let (key, event, child) = soon("an event", self.streams.next()).await?;
            let history = &mut self.histories[key];
            let ended = history.events.last().is_some_and(Event::is_terminal);
            assert_eq!(ended, event.is_none(), "{history:?}, then {event:?}");
            let Some(event) = event else {
                continue;
            };
            history.events.push(event.clone());
            let tid = history.tid;
            if let Some(child) = child {
                self.join(child);
            }
            return Some((tid, event));
        }
    }

    /// Follows all to their ends; gives what happened, in the order in which they joined.
    pub async fn to_the_end(mut self) -> Vec<History> {
        while self.next().await.is_some() {}
        self.histories
    }
}
