//! What is known of the processes and threads: a tree.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tracehound::{Signal, Tid};

use crate::watch::{Parent, Report, What};

/// How many of the dead are remembered.
const REMEMBERED: usize = 500;

/// How much a level is indented.
pub(crate) const BRANCH: usize = 3;

/// A name is not cut to less than this; a line may be.
const SHORTEST: usize = 8;

/// A node's number, never given twice: ids of threads are.
type Number = u64;

/// Processes with their threads and children.
#[derive(Default)]
pub(crate) struct Model {
    nodes: BTreeMap<Number, Node>,
    alive: HashMap<Tid, Number>,
    last: Number,
    dead: usize,
}

struct Node {
    parent: Option<Number>,
    tid: Tid,
    name: String,
    is_thread: bool,
    state: State,
}

enum State {
    Alive,
    Stopped(Signal),
    /// In words.
    Ended(String),
}

/// A node as it is shown.
pub(crate) struct Line {
    /// For each level whether more follows there; the last is its own.
    pub(crate) more: Vec<bool>,
    pub(crate) text: String,
}

impl Model {
    /// Takes a report in.
    pub(crate) fn apply(&mut self, report: &Report) {
        match &report.what {
            What::Began { parent, name } => self.begin(report, *parent, name.clone()),
            What::Became { former, command } => {
                if *former != report.tid {
                    // It goes on as the leader, whose node is the process's.
                    self.forget(*former);
                }
                self.change(report.tid, |node| node.name.clone_from(command));
            }
            What::Stopped(signal) => {
                self.change(report.tid, |node| node.state = State::Stopped(*signal));
            }
            What::Continued => self.change(report.tid, |node| node.state = State::Alive),
            What::Ended(how) => self.end(report.tid, how.clone()),
        }
    }

    fn begin(&mut self, report: &Report, parent: Parent, name: String) {
        let is_thread = report.tid != report.tgid;
        let parent = match parent {
            _ if is_thread => self.find(report.tgid),
            Parent::Process(parent) => self.find(parent),
            Parent::Own => None,
        };
        self.last += 1;
        let node = Node {
            parent,
            tid: report.tid,
            name,
            is_thread,
            state: State::Alive,
        };
        self.nodes.insert(self.last, node);
        self.alive.insert(report.tid, self.last);
    }

    /// The node with this id: of the living, else of those that died last.
    fn find(&self, tid: Tid) -> Option<Number> {
        let dead = || self.nodes.iter().rev().find(|(_, node)| node.tid == tid);
        let alive = self.alive.get(&tid).copied();
        alive.or_else(|| dead().map(|(number, _)| *number))
    }

    fn change(&mut self, tid: Tid, change: impl FnOnce(&mut Node)) {
        let number = self.alive.get(&tid);
        if let Some(node) = number.and_then(|number| self.nodes.get_mut(number)) {
            change(node);
        }
    }

    fn forget(&mut self, tid: Tid) {
        if let Some(number) = self.alive.remove(&tid) {
            self.nodes.remove(&number);
        }
    }

    fn end(&mut self, tid: Tid, how: String) {
        self.change(tid, |node| node.state = State::Ended(how));
        if self.alive.remove(&tid).is_some() {
            self.dead += 1;
        }
        if self.dead > REMEMBERED {
            self.forget_one();
        }
    }

    /// Forgets the oldest of the dead. What came of it is its parent's from then on.
    fn forget_one(&mut self) {
        let mut dead = self.nodes.iter().filter(|(_, node)| node.is_dead());
        let Some(oldest) = dead.next().map(|(number, _)| *number) else {
            return;
        };
        let parent = self.nodes.remove(&oldest).and_then(|node| node.parent);
        self.dead -= 1;
        let orphans = self.nodes.values_mut();
        for node in orphans.filter(|node| node.parent == Some(oldest)) {
            node.parent = parent;
        }
    }

    /// The name of a thread that lives.
    pub(crate) fn name(&self, tid: Tid) -> Option<&str> {
        let node = self.nodes.get(self.alive.get(&tid)?)?;
        Some(&node.name)
    }

    /// The tree, in at most so many lines of this width. The dead without descendants that live
    /// are left out first, and names are cut.
    pub(crate) fn lines(&self, most: usize, width: usize) -> Vec<Line> {
        let left_out = self.left_out(most);
        let mut children: BTreeMap<Option<Number>, Vec<Number>> = BTreeMap::new();
        for (number, node) in &self.nodes {
            if !left_out.contains(number) {
                children.entry(node.parent).or_default().push(*number);
            }
        }
        let mut lines: Vec<Line> = Vec::new();
        let mut beyond = 0;
        // Depth first, without recursion: the depth is the tracees' choice.
        let mut open = vec![children.remove(&None).unwrap_or_default().into_iter()];
        while let Some(level) = open.last_mut() {
            let Some(number) = level.next() else {
                open.pop();
                continue;
            };
            if lines.len() < most {
                // The first level has no branches.
                let more: Vec<bool> = open.iter().skip(1).map(|l| l.len() > 0).collect();
                let room = width.saturating_sub(BRANCH * more.len());
                let node = self.nodes.get(&number);
                let text = node.map(|node| node.text(room)).unwrap_or_default();
                lines.push(Line { more, text });
            } else {
                beyond += 1;
            }
            open.push(
                children
                    .remove(&Some(number))
                    .unwrap_or_default()
                    .into_iter(),
            );
        }
        if let (1.., Some(last)) = (beyond, lines.last_mut()) {
            *last = Line {
                more: Vec::new(),
                text: format!("… and {} more", beyond + 1),
            };
        }
        lines
    }

    /// The dead that there is no room for: the oldest of those of which nothing is left, again
    /// and again.
    fn left_out(&self, most: usize) -> HashSet<Number> {
        let mut children: HashMap<Number, usize> = HashMap::new();
        for parent in self.nodes.values().filter_map(|node| node.parent) {
            *children.entry(parent).or_default() += 1;
        }
        let dead = |number: &Number| self.nodes.get(number).is_some_and(Node::is_dead);
        let leaves = self
            .nodes
            .keys()
            .filter(|number| !children.contains_key(number));
        let mut leaves: BTreeSet<Number> = leaves.copied().filter(dead).collect();
        let mut left_out = HashSet::new();
        while left_out.len() + most < self.nodes.len() {
            let Some(oldest) = leaves.pop_first() else {
                break;
            };
            left_out.insert(oldest);
            let Some(parent) = self.nodes.get(&oldest).and_then(|node| node.parent) else {
                continue;
            };
            let count = children.entry(parent).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 && dead(&parent) {
                leaves.insert(parent);
            }
        }
        left_out
    }

    /// Asks for the names again of those that live: they may have changed.
    pub(crate) fn refresh(&mut self, name: impl Fn(Tid) -> Option<String>) {
        for node in self.nodes.values_mut().filter(|node| node.is_thread) {
            if let (false, Some(name)) = (node.is_dead(), name(node.tid)) {
                node.name = name;
            }
        }
    }
}

impl Node {
    fn is_dead(&self) -> bool {
        matches!(self.state, State::Ended(_))
    }

    /// Its line. What became of it is worth more than all of its name.
    fn text(&self, room: usize) -> String {
        let Node { tid, name, .. } = self;
        let state = match &self.state {
            State::Alive => String::new(),
            State::Stopped(signal) => format!(": stopped by {signal}"),
            State::Ended(how) => format!(": {how}"),
        };
        let tid = tid.to_string();
        let room = room
            .saturating_sub(tid.len() + 1 + state.len())
            .max(SHORTEST);
        let name = match name.char_indices().nth(room) {
            Some(_) => name.chars().take(room - 1).chain(['…']).collect(),
            None => name.clone(),
        };
        match self.is_thread {
            true => format!("{tid} {{{name}}}{state}"),
            false => format!("{tid} {name}{state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tid: i32, tgid: i32, what: What) -> Report {
        let (tid, tgid) = (Tid::from_raw(tid), Tid::from_raw(tgid));
        Report { tid, tgid, what }
    }

    fn begin(model: &mut Model, tid: i32, tgid: i32, parent: i32, name: &str) {
        let parent = Parent::Process(Tid::from_raw(parent));
        let name = name.to_string();
        model.apply(&report(tid, tgid, What::Began { parent, name }));
    }

    fn end(model: &mut Model, tid: i32) {
        let ended = What::Ended("exited with 0".to_string());
        model.apply(&report(tid, tid, ended));
    }

    /// The lines with their depth before them.
    fn drawn(model: &Model, most: usize) -> Vec<String> {
        let lines = model.lines(most, 80).into_iter();
        lines
            .map(|line| format!("{}{}", ".".repeat(line.more.len()), line.text))
            .collect()
    }

    #[test]
    fn processes_threads_and_orphans() {
        let mut model = Model::default();
        begin(&mut model, 1, 1, 0, "sh");
        begin(&mut model, 2, 2, 1, "make");
        begin(&mut model, 3, 2, 1, "worker");
        begin(&mut model, 4, 4, 2, "cc");
        end(&mut model, 2);
        assert_eq!(
            drawn(&model, 9),
            ["1 sh", ".2 make: exited with 0", "..3 {worker}", "..4 cc"]
        );
        // An id that is used again.
        end(&mut model, 3);
        begin(&mut model, 2, 2, 1, "ls");
        begin(&mut model, 5, 5, 2, "ps");
        assert_eq!(drawn(&model, 9)[3..], ["..4 cc", ".2 ls", "..5 ps"]);
    }

    #[test]
    fn long_names_are_cut() {
        let mut model = Model::default();
        begin(&mut model, 1, 1, 0, "abcdefghijklmnopqrstuvwxyz");
        end(&mut model, 1);
        let text = |width| model.lines(1, width).remove(0).text;
        assert_eq!(text(44), "1 abcdefghijklmnopqrstuvwxyz: exited with 0");
        assert_eq!(text(30), "1 abcdefghijkl…: exited with 0");
        assert_eq!(text(0), "1 abcdefg…: exited with 0");
    }

    #[test]
    fn an_exec_of_a_thread_takes_its_node_away() {
        let mut model = Model::default();
        begin(&mut model, 1, 1, 0, "sh");
        begin(&mut model, 2, 1, 0, "worker");
        let (former, command) = (Tid::from_raw(2), "ls -l".to_string());
        model.apply(&report(1, 1, What::Became { former, command }));
        assert_eq!(drawn(&model, 9), ["1 ls -l"]);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut model = Model::default();
        begin(&mut model, 1, 1, 0, "sh");
        for tid in 2..=9 {
            begin(&mut model, tid, tid, 1, "ls");
        }
        for tid in 2..=5 {
            end(&mut model, tid);
        }
        assert_eq!(drawn(&model, 9).len(), 9);
        let drawn_in_6 = drawn(&model, 6);
        assert_eq!(drawn_in_6[1], ".5 ls: exited with 0");
        assert_eq!(drawn_in_6.len(), 6);
        assert_eq!(drawn(&model, 3), ["1 sh", ".6 ls", "… and 3 more"]);
        assert_eq!(drawn(&model, 1).len(), 1);
        // When all is over, the root is what stays.
        for tid in [6, 7, 8, 9, 1] {
            end(&mut model, tid);
        }
        let last = [".8 ls: exited with 0", ".9 ls: exited with 0"];
        assert_eq!(drawn(&model, 3)[1..], last);
        assert_eq!(drawn(&model, 1), ["1 sh: exited with 0"]);
        assert_eq!(drawn(&model, 0).len(), 0);
    }

    #[test]
    fn the_dead_are_not_remembered_for_ever() {
        let mut model = Model::default();
        begin(&mut model, 1, 1, 0, "sh");
        for tid in 2..5000 {
            begin(&mut model, tid, tid, 1, "ls");
            end(&mut model, tid);
        }
        assert_eq!(model.nodes.len(), 1 + REMEMBERED);
        // Also a chain of which only the last link lives.
        let mut model = Model::default();
        for tid in 1..2000 {
            begin(&mut model, tid, tid, tid - 1, "ls");
            end(&mut model, tid - 1);
        }
        assert_eq!(drawn(&model, 5).len(), 5);
    }
}
