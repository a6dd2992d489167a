//! Following everybody to the end, and whoever is born on the way.

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::group::Group;
use crate::life::Life;
use crate::soon_or;
use crate::touch::{Shut, Tracked, happened};

/// Where those go that are born.
type Nursery = UnboundedSender<Tracked>;

/// Follows all of them; gives their lives. At once, since one may wait for the other.
pub(crate) async fn follow(tracees: Vec<Tracked>, groups: Vec<Group>, shut: &Shut) -> Vec<Life> {
    let (nursery, mut born) = unbounded_channel();
    let mut all: FuturesUnordered<BoxFuture<'_, Option<Life>>> = FuturesUnordered::new();
    for tracked in tracees {
        all.push(one(tracked, nursery.clone(), shut).map(Some).boxed());
    }
    for group in groups {
        all.push(process(group, nursery.clone(), shut).map(|()| None).boxed());
    }
    let mut lives = Vec::new();
    loop {
        while let Ok(tracked) = born.try_recv() {
            all.push(one(tracked, nursery.clone(), shut).map(Some).boxed());
        }
        tokio::select! {
            tracked = born.recv() => {
                all.extend(tracked.map(|t| one(t, nursery.clone(), shut).map(Some).boxed()));
            }
            life = all.next() => match life {
                Some(life) => lives.extend(life),
                None => return lives,
            },
        }
    }
}

async fn one(tracked: Tracked, nursery: Nursery, shut: &Shut) -> Life {
    let Tracked {
        mut tracee,
        mut life,
    } = tracked;
    while !life.has_ended() {
        life.asked(tracee.resume_mode());
        if life.is_frozen() {
            // Only this resumes it. An error: it runs, or is dead.
            let _ = tracee.cont().await;
        }
        let event = soon_or(tracee.next(), || format!("the end of {life:#?}")).await;
        let born = happened(&mut tracee, &mut life, event, false, true, shut);
        born.into_iter()
            .for_each(|tracked| drop(nursery.send(tracked)));
    }
    assert!(tracee.next().await.is_none(), "after the end: {life:#?}");
    life
}

async fn process(mut group: Group, nursery: Nursery, shut: &Shut) {
    while !group.is_over() {
        // An error: the tracer was shut down.
        let _ = group.process.resume_all().await;
        group.thaw();
        let held = group.ask();
        let Group { process, lives, .. } = &mut group;
        let next = soon_or(process.next(), || format!("the end of {lives:#?}")).await;
        group.pass_over(&held);
        let born = group.happened(next, shut);
        born.into_iter()
            .for_each(|tracked| drop(nursery.send(tracked)));
    }
}
