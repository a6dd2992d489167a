//! What is known of a trace's processes and threads, and counts of what they do.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;
use tracehound::{SyscallEntry, Tid};

use crate::record::{self, End};

/// How many of the dead are remembered.
const REMEMBERED: usize = 200;

/// A node's number, never given twice: ids of threads are.
pub(crate) type Number = u64;

/// Processes and threads.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Number, Node>,
    alive: HashMap<Tid, Number>,
    dead: VecDeque<Number>,
    last: Number,
    pub(crate) counts: Counts,
}

/// A thread, or the process that it leads.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Node {
    node: Number,
    parent: Option<Number>,
    #[serde(serialize_with = "record::tid")]
    tid: Tid,
    #[serde(serialize_with = "record::tid")]
    pid: Tid,
    name: Arc<str>,
    state: State,
    /// The call that it is in, of those that are traced.
    call: Option<&'static str>,
    calls: u64,
    began: u64,
    ended: Option<u64>,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Running,
    Stopped,
    Ended,
}

/// How often what has happened.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) signals: u64,
    pub(crate) tracees: u64,
    /// Tracees that were let go, because there were too many.
    pub(crate) unfollowed: u64,
    by_name: BTreeMap<&'static str, Count>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Count {
    calls: u64,
    errors: u64,
    /// Nanoseconds between entry and exit, by the clock on the wall.
    time: u64,
}

impl Tree {
    /// A new tracee, made by `parent` if that was seen.
    pub(crate) fn begin(
        &mut self,
        (tid, pid): (Tid, Tid),
        parent: Option<Tid>,
        name: Arc<str>,
        now: u64,
    ) -> Number {
        // A thread belongs to its process, whoever made it.
        let leader = (tid != pid).then_some(pid);
        let parent = leader
            .and_then(|leader| self.alive.get(&leader))
            .or_else(|| self.alive.get(&parent?))
            .copied();
        self.last += 1;
        self.counts.tracees += 1;
        let node = Node {
            node: self.last,
            parent,
            tid,
            pid,
            name,
            state: State::Running,
            call: None,
            calls: 0,
            began: now,
            ended: None,
            end: None,
        };
        self.nodes.insert(self.last, node);
        self.alive.insert(tid, self.last);
        self.last
    }

    /// A thread has called exec and gone on as the leader, whose node is the process's. Gives
    /// the number of the node that is its own from now on.
    pub(crate) fn become_leader(&mut self, former: Number, leader: Tid) -> Number {
        let taken = self.alive.get(&leader).copied();
        let Some(taken) = taken.filter(|taken| *taken != former) else {
            if let Some(node) = self.nodes.get_mut(&former) {
                self.alive.remove(&node.tid);
                node.tid = leader;
                self.alive.insert(leader, former);
            }
            return former;
        };
        if let Some(node) = self.nodes.remove(&former) {
            self.alive.remove(&node.tid);
            self.adopt(former, Some(taken));
        }
        taken
    }

    /// Changes a node.
    pub(crate) fn change(&mut self, number: Number, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&number) {
            change(node);
        }
    }

    pub(crate) fn enter(&mut self, number: Number, call: &SyscallEntry) {
        let name = record::name(call).unwrap_or(record::UNNAMED);
        self.change(number, |node| node.call = Some(name));
    }

    /// Counts a call.
    pub(crate) fn leave(&mut self, number: Number, call: &record::Call, now: u64) {
        self.change(number, |node| {
            node.call = None;
            node.calls += 1;
        });
        let name = record::name(&call.entry).unwrap_or(record::UNNAMED);
        let failed = u64::from(call.failed);
        self.counts.calls += 1;
        self.counts.errors += failed;
        let count = self.counts.by_name.entry(name).or_default();
        count.calls += 1;
        count.errors += failed;
        count.time += now.saturating_sub(call.entered);
    }

    pub(crate) fn end(&mut self, number: Number, end: End, now: u64) {
        let Some(node) = self.nodes.get_mut(&number) else {
            return;
        };
        if node.state == State::Ended {
            return;
        }
        node.state = State::Ended;
        node.call = None;
        node.end = Some(end);
        node.ended = Some(now);
        // The id may be another one's by now.
        if self.alive.get(&node.tid) == Some(&number) {
            self.alive.remove(&node.tid);
        }
        self.dead.push_back(number);
        if self.dead.len() > REMEMBERED
            && let Some(oldest) = self.dead.pop_front()
            && let Some(node) = self.nodes.remove(&oldest)
        {
            self.adopt(oldest, node.parent);
        }
    }

    /// What came of a node is its parent's from now on.
    fn adopt(&mut self, gone: Number, parent: Option<Number>) {
        for node in self.nodes.values_mut() {
            if node.parent == Some(gone) {
                node.parent = parent;
            }
        }
    }

    /// How many live.
    pub(crate) fn alive(&self) -> usize {
        self.alive.len()
    }

    pub(crate) fn nodes(&self) -> Vec<Node> {
        self.nodes.values().cloned().collect()
    }
}

impl Node {
    pub(crate) fn rename(&mut self, name: Arc<str>) {
        self.name = name;
    }

    pub(crate) fn set_stopped(&mut self, stopped: bool) {
        self.state = match stopped {
            true => State::Stopped,
            false => State::Running,
        };
    }
}
