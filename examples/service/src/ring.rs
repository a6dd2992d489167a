//! The last events of a trace, and where its readers are.
//!
//! The writer never waits for a reader: what is new takes the place of what is oldest, and a
//! reader that was there learns how much it has missed. One reader may ask to be waited for (the
//! *holder*): then [`room`](Ring::room) is pending while the ring is full of what it has not read.
//! That is the tracee's task; nobody else is held up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::lock;
use crate::record::Record;

/// A bounded queue with any number of readers.
#[derive(Debug)]
pub struct Ring {
    inner: Mutex<Inner>,
    capacity: usize,
    /// Something was written, or nothing more will be.
    news: Notify,
    /// The holder has read, or is gone.
    space: Notify,
    holders: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    records: VecDeque<Record>,
    /// The number of the next record. The first one is 1.
    next: u64,
    closed: bool,
    /// The reader that is waited for, and the number that it reads next.
    holder: Option<(u64, u64)>,
}

/// What a reader gets at a time.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many records were overwritten before they could be read.
    pub lost: u64,
    /// The number of the first record.
    pub first: u64,
    /// The records.
    pub records: Vec<Record>,
    /// Nothing more will come.
    pub closed: bool,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.lost == 0 && !self.closed
    }
}

impl Ring {
    /// A ring for so many records, at least one.
    pub fn new(capacity: usize) -> Self {
        Ring {
            inner: Mutex::new(Inner {
                records: VecDeque::new(),
                next: 1,
                closed: false,
                holder: None,
            }),
            capacity: capacity.max(1),
            news: Notify::new(),
            space: Notify::new(),
            holders: AtomicU64::new(1),
        }
    }

    /// How many records are kept.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes a record; gives whether another one was overwritten.
    ///
    /// # Errors
    ///
    /// Gives the record back if one would be overwritten that the holder has not read: wait for
    /// [`room`](Ring::room).
    pub fn push(&self, record: Record) -> Result<bool, Record> {
        let inner = lock(&self.inner);
        if inner.is_held(self.capacity) {
            return Err(record);
        }
        Ok(self.write(inner, record))
    }

    /// Writes a record, whoever has not read.
    pub fn force(&self, record: Record) -> bool {
        self.write(lock(&self.inner), record)
    }

    fn write(&self, mut inner: MutexGuard<'_, Inner>, record: Record) -> bool {
        let full = inner.records.len() >= self.capacity;
        if full {
            inner.records.pop_front();
        }
        inner.records.push_back(record);
        inner.next += 1;
        drop(inner);
        self.news.notify_waiters();
        full
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        lock(&self.inner).closed = true;
        self.release();
        self.news.notify_waiters();
    }

    /// The numbers of the oldest record that is kept and of the next one to come.
    pub fn bounds(&self) -> (u64, u64) {
        let inner = lock(&self.inner);
        (inner.oldest(), inner.next)
    }

    /// What there is from `cursor` on, which moves. Nothing if there is nothing new.
    fn take(&self, cursor: &mut u64, most: usize, reader: Option<u64>) -> Batch {
        let mut inner = lock(&self.inner);
        let first = inner.oldest().max(*cursor);
        let skip = usize::try_from(first - inner.oldest()).unwrap_or(usize::MAX);
        let records: Vec<Record> = inner
            .records
            .iter()
            .skip(skip)
            .take(most)
            .cloned()
            .collect();
        let batch = Batch {
            lost: first - *cursor,
            first,
            closed: inner.closed && first + records.len() as u64 == inner.next,
            records,
        };
        *cursor = first + batch.records.len() as u64;
        if let Some((holder, read)) = &mut inner.holder
            && Some(*holder) == reader
        {
            *read = *cursor;
            drop(inner);
            self.space.notify_waiters();
        }
        batch
    }

    /// Waits for records. Cancel safe: the cursor moves only when they are given.
    pub async fn read(&self, cursor: &mut u64, most: usize, holder: Option<&Holder>) -> Batch {
        let reader = holder.map(|holder| holder.number);
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // What is written from here on is not missed.
            news.as_mut().enable();
            let batch = self.take(cursor, most, reader);
            if !batch.is_empty() {
                return batch;
            }
            news.await;
        }
    }

    /// Has a reader waited for, if there is no other such one.
    pub fn hold(self: &Arc<Self>, cursor: u64) -> Option<Holder> {
        let mut inner = lock(&self.inner);
        if inner.holder.is_some() {
            return None;
        }
        let number = self.holders.fetch_add(1, Ordering::Relaxed);
        inner.holder = Some((number, cursor));
        drop(inner);
        let ring = Arc::clone(self);
        Some(Holder { ring, number })
    }

    /// Waits for nobody any more.
    pub fn release(&self) {
        lock(&self.inner).holder = None;
        self.space.notify_waiters();
    }

    /// Whether a push would have to wait.
    fn is_held(&self) -> bool {
        lock(&self.inner).is_held(self.capacity)
    }

    /// Waits until the next push overwrites nothing that the holder has not read. One that does
    /// not read for `most` is not waited for any more.
    pub async fn room(&self, most: Duration) {
        while self.is_held() {
            let mut space = std::pin::pin!(self.space.notified());
            space.as_mut().enable();
            if self.is_held() && timeout(most, space).await.is_err() {
                self.release();
            }
        }
    }
}

impl Inner {
    fn oldest(&self) -> u64 {
        self.next - self.records.len() as u64
    }

    fn is_held(&self, capacity: usize) -> bool {
        let full = self.records.len() >= capacity;
        full && self.holder.is_some_and(|(_, read)| read <= self.oldest())
    }
}

/// The reader that is waited for, until this is dropped.
#[derive(Debug)]
pub struct Holder {
    ring: Arc<Ring>,
    number: u64,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut inner = lock(&self.ring.inner);
        if inner
            .holder
            .is_some_and(|(number, _)| number == self.number)
        {
            inner.holder = None;
        }
        drop(inner);
        self.ring.space.notify_waiters();
    }
}
