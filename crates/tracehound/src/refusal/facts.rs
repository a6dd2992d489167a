//! What decides whether a process may be traced, and the kernel's way through it.
//!
//! The order is that of `ptrace_attach()` and `__ptrace_may_access()` in the kernel's
//! `kernel/ptrace.c`: the target's kind, its ids, its dumpability, the security modules
//! (the capabilities first, then Yama and the others), its state. A reason that comes first
//! there must be mended first.

use tracehound_sys::proc::{self, Credentials, Status, UserNamespace};
use tracehound_sys::{Errno, Tid};

use super::Refusal;

/// What can be read about the target and the tracer.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) target: Status,
    pub(super) theirs: Credentials,
    /// Those of the tracer thread: what the kernel compares with.
    pub(super) own: Credentials,
    pub(super) own_process: bool,
    /// Nothing if that cannot be told.
    pub(super) dumpable: Option<bool>,
    pub(super) namespace: UserNamespace,
    /// Whether the tracer is in the first user namespace, where capabilities hold for all.
    pub(super) first_namespace: bool,
    /// `kernel.yama.ptrace_scope`.
    pub(super) yama: Option<u8>,
    /// Whether the target comes from the tracer's process.
    pub(super) descendant: bool,
    /// The security modules that might refuse.
    pub(super) modules: Vec<&'static str>,
}

impl Facts {
    /// Reads them. Called on the tracer thread, whose credentials count. Nothing if the
    /// target has vanished, or cannot be seen.
    pub(super) fn gather(tid: Tid) -> Option<Self> {
        let target = proc::status(tid).ok()?;
        let theirs = proc::credentials(tid).ok()?;
        let yama = proc::yama_scope();
        Some(Facts {
            target,
            theirs,
            own: proc::credentials(Tid::current()).ok()?,
            own_process: target.tgid == Tid::current_process(),
            dumpable: proc::is_dumpable(tid, &theirs).ok()?,
            namespace: proc::user_namespace(tid).ok()?,
            first_namespace: proc::in_first_user_namespace(),
            yama,
            descendant: yama == Some(1) && is_descendant(target.parent),
            modules: proc::security_modules(),
        })
    }

    /// The first thing on the kernel's way that forbids to trace the target.
    pub(super) fn decide(self, errno: Errno) -> Refusal {
        if self.target.kernel_thread {
            return Refusal::KernelThread;
        }
        if self.own_process {
            return Refusal::OwnProcess;
        }
        // Only security modules say EACCES.
        let refusal = match errno {
            Errno::EACCES => None,
            _ if self.is_capable() => self.yama().or_else(|| self.state()),
            _ => (self.ids().or_else(|| self.protection()))
                .or_else(|| self.yama())
                .or_else(|| self.state()),
        };
        refusal.unwrap_or(Refusal::Denied {
            modules: self.modules,
        })
    }

    /// Whether the tracer has `CAP_SYS_PTRACE` in the target's user namespace.
    fn is_capable(&self) -> bool {
        match self.namespace {
            UserNamespace::Same | UserNamespace::Unknown => self.own.effective.has_sys_ptrace(),
            // The look into it took the same capability there.
            UserNamespace::Open => true,
            UserNamespace::Closed => self.first_namespace && self.own.effective.has_sys_ptrace(),
        }
    }

    /// Every id of the target must be the tracer's real one.
    fn ids(&self) -> Option<Refusal> {
        let (uid, gid) = (self.own.uids.real, self.own.gids.real);
        let (uids, gids) = (self.theirs.uids, self.theirs.gids);
        if uids.all(uid) && gids.all(gid) {
            return None;
        }
        // It has the capability, in vain.
        if self.own.effective.has_sys_ptrace() {
            return Some(Refusal::UserNamespace);
        }
        Some(match uids.all(uid) {
            false => Refusal::DifferentUser { uids, own: uid },
            true => Refusal::DifferentGroup { gids, own: gid },
        })
    }

    /// What protects a process of the same user.
    fn protection(&self) -> Option<Refusal> {
        let missing = self.theirs.permitted.without(self.own.permitted);
        if self.dumpable == Some(false) {
            Some(Refusal::NotDumpable)
        } else if self.namespace == UserNamespace::Closed {
            Some(Refusal::UserNamespace)
        } else if !missing.is_empty() {
            Some(Refusal::MissingCapabilities { missing })
        } else if self.dumpable.is_none() && self.namespace == UserNamespace::Unknown {
            // It runs as root, whose processes all look undumpable; but nothing else is left
            // that forbids even to look at it.
            Some(Refusal::NotDumpable)
        } else {
            None
        }
    }

    fn yama(&self) -> Option<Refusal> {
        let scope = self.yama?;
        let allowed = match scope {
            0 => true,
            1 => self.descendant || self.is_capable(),
            2 => self.is_capable(),
            _ => false,
        };
        (!allowed).then_some(Refusal::Yama { scope })
    }

    fn state(&self) -> Option<Refusal> {
        match (self.target.state, self.target.tracer) {
            ('Z' | 'X', _) => Some(Refusal::Zombie),
            // Stopped by a tracer whose id has no meaning here.
            ('t', _) => Some(Refusal::already_traced(self.target.tracer)),
            (_, tracer) if tracer.is_valid() => Some(Refusal::already_traced(tracer)),
            _ => None,
        }
    }
}

/// Whether a process is this one, or comes from it: what Yama asks.
fn is_descendant(mut pid: Tid) -> bool {
    // Ends in any case, whatever happens to the tree meanwhile.
    for _ in 0..4096 {
        if pid == Tid::current_process() {
            return true;
        }
        match proc::status(pid) {
            Ok(status) => pid = status.parent,
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracehound_sys::proc::{Capabilities, Ids};

    const SYS_PTRACE: Capabilities = Capabilities::from_bits(1 << 19);
    const NET_RAW: Capabilities = Capabilities::from_bits(1 << 13);
    const NONE: Capabilities = Capabilities::from_bits(0);

    fn all(id: u32) -> Ids {
        Ids {
            real: id,
            effective: id,
            saved: id,
        }
    }

    fn user(id: u32, caps: Capabilities) -> Credentials {
        Credentials {
            uids: all(id),
            gids: all(id),
            permitted: caps,
            effective: caps,
        }
    }

    /// Two ordinary processes of one user, and nothing that forbids anything.
    fn facts() -> Facts {
        Facts {
            target: Status {
                state: 'S',
                tgid: Tid::from_raw(i32::MAX),
                parent: Tid::from_raw(1),
                tracer: Tid::from_raw(0),
                threads: 1,
                kernel_thread: false,
                seccomp: 0,
                blocked: tracehound_sys::SignalSet::EMPTY,
            },
            theirs: user(1000, NONE),
            own: user(1000, NONE),
            own_process: false,
            dumpable: Some(true),
            namespace: UserNamespace::Same,
            first_namespace: true,
            yama: None,
            descendant: false,
            modules: vec!["selinux"],
        }
    }

    fn denied() -> Refusal {
        Refusal::Denied {
            modules: vec!["selinux"],
        }
    }

    /// The decision after a change, without and with `CAP_SYS_PTRACE`.
    fn both(change: impl Fn(&mut Facts)) -> [Refusal; 2] {
        [NONE, SYS_PTRACE].map(|caps| {
            let mut facts = facts();
            facts.own = user(1000, caps);
            change(&mut facts);
            facts.decide(Errno::EPERM)
        })
    }

    #[test]
    fn what_nothing_explains_is_denied() {
        assert_eq!(both(|_| {}), [denied(), denied()]);
        let mut facts = facts();
        facts.yama = Some(3);
        assert_eq!(facts.decide(Errno::EACCES), denied());
    }

    #[test]
    fn some_can_never_be_traced() {
        let kernel = both(|facts| facts.target.kernel_thread = true);
        assert_eq!(kernel, [Refusal::KernelThread, Refusal::KernelThread]);
        let own = both(|facts| facts.own_process = true);
        assert_eq!(own, [Refusal::OwnProcess, Refusal::OwnProcess]);
    }

    #[test]
    fn each_id_counts() {
        let change: [fn(&mut Ids); 3] = [
            |ids| ids.real = 7,
            |ids| ids.effective = 7,
            |ids| ids.saved = 7,
        ];
        for change in change {
            let [without, with] = both(|facts| change(&mut facts.theirs.uids));
            let Refusal::DifferentUser { uids, own: 1000 } = without else {
                panic!("{without:?}");
            };
            assert!(uids.to_string().contains('7'));
            assert_eq!(with, denied());
            let [without, with] = both(|facts| change(&mut facts.theirs.gids));
            assert!(matches!(without, Refusal::DifferentGroup { own: 1000, .. }));
            assert_eq!(with, denied());
        }
    }

    #[test]
    fn only_the_tracers_real_ids_count() {
        let [without, _] = both(|facts| facts.own.uids.effective = 0);
        assert_eq!(without, denied());
        let [without, _] = both(|facts| facts.own.uids.real = 0);
        assert!(matches!(without, Refusal::DifferentUser { own: 0, .. }));
    }

    #[test]
    fn protected_memory_takes_the_capability() {
        let [without, with] = both(|facts| facts.dumpable = Some(false));
        assert_eq!((without, with), (Refusal::NotDumpable, denied()));
        // What runs as root looks the same both ways, but may it be looked at?
        let root = |namespace| {
            both(move |facts| {
                facts.dumpable = None;
                facts.namespace = namespace;
            })
        };
        assert_eq!(
            root(UserNamespace::Unknown),
            [Refusal::NotDumpable, denied()]
        );
        assert_eq!(root(UserNamespace::Same), [denied(), denied()]);
    }

    #[test]
    fn a_capability_more_protects() {
        let [without, with] = both(|facts| facts.theirs.permitted = NET_RAW);
        let missing = Refusal::MissingCapabilities { missing: NET_RAW };
        assert_eq!((without, with), (missing, denied()));
        let [same, _] = both(|facts| {
            facts.theirs.permitted = NET_RAW;
            facts.own.permitted = NET_RAW;
        });
        assert_eq!(same, denied());
    }

    #[test]
    fn a_capability_counts_in_its_own_namespace() {
        // Inside of a container, the outside.
        let inside = both(|facts| {
            facts.namespace = UserNamespace::Closed;
            facts.first_namespace = false;
        });
        assert_eq!(inside, [Refusal::UserNamespace, Refusal::UserNamespace]);
        let [without, with] = both(|facts| {
            facts.namespace = UserNamespace::Closed;
            facts.first_namespace = false;
            facts.theirs.uids = all(65534);
        });
        assert!(matches!(without, Refusal::DifferentUser { .. }));
        assert_eq!(with, Refusal::UserNamespace);
        // From the first one it counts everywhere.
        let [without, with] = both(|facts| facts.namespace = UserNamespace::Closed);
        assert_eq!((without, with), (Refusal::UserNamespace, denied()));
        // What may be looked at is none of this.
        let open = both(|facts| facts.namespace = UserNamespace::Open);
        assert_eq!(open, [denied(), denied()]);
    }

    #[test]
    fn yama_by_its_setting() {
        let yama = |scope| Refusal::Yama { scope };
        let at = |scope, descendant| {
            both(move |facts| {
                facts.yama = Some(scope);
                facts.descendant = descendant;
            })
        };
        assert_eq!(at(0, false), [denied(), denied()]);
        assert_eq!(at(1, false), [yama(1), denied()]);
        assert_eq!(at(1, true), [denied(), denied()]);
        assert_eq!(at(2, true), [yama(2), denied()]);
        assert_eq!(at(3, true), [yama(3), yama(3)]);
        let texts = [1, 2, 3].map(|scope| yama(scope).to_string());
        assert!(texts[0].contains("is 1: only descendants"));
        assert!(texts[1].contains("is 2: run the tracer with CAP_SYS_PTRACE"));
        assert!(texts[2].contains("is 3: nobody"));
    }

    #[test]
    fn the_dead_and_the_traced() {
        let zombie = both(|facts| facts.target.state = 'Z');
        assert_eq!(zombie, [Refusal::Zombie, Refusal::Zombie]);
        for refusal in both(|facts| facts.target.tracer = Tid::from_raw(i32::MAX)) {
            let Refusal::AlreadyTraced { tracer, .. } = refusal else {
                panic!("{refusal:?}");
            };
            assert_eq!(tracer, Some(Tid::from_raw(i32::MAX)));
        }
        // Its tracer is outside of this pid namespace.
        for refusal in both(|facts| facts.target.state = 't') {
            assert!(matches!(
                refusal,
                Refusal::AlreadyTraced { tracer: None, .. }
            ));
        }
    }

    #[test]
    fn the_first_reason_on_the_kernels_way_is_given() {
        // Each line takes one away from what forbids it.
        let mut facts = facts();
        facts.theirs = user(0, NET_RAW);
        facts.dumpable = Some(false);
        facts.namespace = UserNamespace::Closed;
        facts.yama = Some(1);
        facts.target.state = 'Z';
        let now = |facts: &Facts| facts.clone().decide(Errno::EPERM);
        assert!(matches!(
            now(&facts),
            Refusal::DifferentUser { own: 1000, .. }
        ));
        facts.theirs = user(1000, NET_RAW);
        assert_eq!(now(&facts), Refusal::NotDumpable);
        facts.dumpable = Some(true);
        assert_eq!(now(&facts), Refusal::UserNamespace);
        facts.namespace = UserNamespace::Same;
        assert_eq!(
            now(&facts),
            Refusal::MissingCapabilities { missing: NET_RAW }
        );
        facts.theirs = user(1000, NONE);
        assert_eq!(now(&facts), Refusal::Yama { scope: 1 });
        facts.yama = None;
        assert_eq!(now(&facts), Refusal::Zombie);
        facts.target.state = 'S';
        assert_eq!(now(&facts), denied());
    }
}
