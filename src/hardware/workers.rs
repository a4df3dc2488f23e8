//! Threads that work in step: all begin together, and meet at a barrier as often as they like.
//!
//! To hand a task to a thread that sleeps takes tens of microseconds, a step of training a hundred or two.
//! So the threads are woken once an epoch and then meet at a barrier ([`Worker::wait`]), which
//! costs less than a microsecond while they all run. Who comes first spins for a moment, for the
//! others are about to come, and then sleeps, for spinning is paid for by everybody else on the
//! machine: above all where another program has the core that one of them needs, which then can
//! come only when who waits sleeps. So who had to sleep is less patient the next time.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// The most times that one who waits looks again before it sleeps: a hundred or two microseconds, about what
/// a step takes. Who sleeps comes late to the next meeting, and the others wait for it.
const SPINS: usize = 10_000;

/// The least: a microsecond or two, in which threads that do run meet now and then, and so find their patience
/// again.
const FEWEST_SPINS: usize = 100;

/// The caller's thread and those of a pool of its own.
#[derive(Debug)]
pub struct Workers {
    /// None where the caller works alone.
    pool: Option<ThreadPool>,
    /// [`SPINS`], or none.
    spins: usize,
}

/// One of the threads that work in step.
#[derive(Clone, Copy, Debug)]
pub struct Worker<'a> {
    /// Which one; 0 is the caller's thread.
    pub index: usize,
    barrier: &'a Barrier,
}

/// The others will not come: one of them has panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned;

/// A worker's panic, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(pub String);

impl Workers {
    /// The caller's thread and `threads - 1` others.
    ///
    /// # Errors
    /// If the operating system gives no threads.
    pub fn new(threads: usize) -> Result<Self, ThreadPoolBuildError> {
        let pool = match threads {
            0 | 1 => None,
            _ => Some(
                ThreadPoolBuilder::new()
                    .num_threads(threads - 1)
                    .thread_name(|index| format!("lanes {}", index + 1))
                    .build()?,
            ),
        };
        // Where threads share a core, spinning keeps the one away that is waited for.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spins = if threads <= cores { SPINS } else { 0 };
        Ok(Self { pool, spins })
    }

    /// How many there are, the caller's thread among them.
    pub fn count(&self) -> usize {
        self.pool
            .as_ref()
            .map_or(1, |pool| pool.current_num_threads() + 1)
    }

    /// Lets the first `active` of them do `work`, and returns when all have done it. Those who
    /// wait when another panics are told, and are to return.
    ///
    /// # Errors
    /// If one of them panicked.
    pub fn run(&self, active: usize, work: impl Fn(Worker) + Sync) -> Result<(), Panicked> {
        let active = active.clamp(1, self.count());
        let barrier = Barrier::new(active, self.spins);
        let panic = Mutex::new(None);
        let work = |index| {
            let worker = Worker {
                index,
                barrier: &barrier,
            };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(worker))) {
                barrier.abandon();
                let mut first = panic.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(message(payload.as_ref()));
            }
        };
        match &self.pool {
            Some(pool) if active > 1 => pool.in_place_scope(|scope| {
                scope.spawn_broadcast(|_, context| {
                    if context.index() + 1 < active {
                        work(context.index() + 1);
                    }
                });
                work(0);
            }),
            _ => work(0),
        }
        let panic = panic.into_inner().unwrap_or_else(PoisonError::into_inner);
        panic.map_or(Ok(()), |message| Err(Panicked(message)))
    }

    /// So many values, each of a number, the first for worker 0, the next for worker 1 and so on, made by the
    /// thread that it is for: allocators give every thread memory apart from that of others, whose cores would
    /// ask for what lies behind theirs in advance.
    ///
    /// # Errors
    /// If one of them panicked.
    pub fn make<V: Send>(
        &self,
        count: usize,
        make: impl Fn(usize) -> V + Sync,
    ) -> Result<Vec<V>, Panicked> {
        let made = Mutex::new(Vec::new());
        self.run(count, |worker| {
            for number in (worker.index..count).step_by(self.count()) {
                let value = make(number);
                let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
                made.push((number, value));
            }
        })?;
        let mut made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.sort_by_key(|&(number, _)| number);
        Ok(made.into_iter().map(|(_, value)| value).collect())
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

impl Worker<'_> {
    /// Waits until all workers wait. What each wrote before, all see after.
    ///
    /// # Errors
    /// If one of them has panicked, and will not come.
    pub fn wait(&self) -> Result<(), Abandoned> {
        self.barrier.wait()
    }
}

/// Where threads meet, again and again.
#[derive(Debug)]
struct Barrier {
    count: usize,
    spins: usize,
    /// How often who waits looks again now: halved by who then sleeps, doubled by who does not have to.
    patience: AtomicUsize,
    arrived: AtomicUsize,
    /// How often they have met.
    round: AtomicUsize,
    abandoned: AtomicBool,
    sleeping: AtomicUsize,
    lock: Mutex<()>,
    wake: Condvar,
}

impl Barrier {
    fn new(count: usize, spins: usize) -> Self {
        Self {
            count,
            spins,
            patience: AtomicUsize::new(spins),
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            abandoned: AtomicBool::new(false),
            sleeping: AtomicUsize::new(0),
            lock: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    fn wait(&self) -> Result<(), Abandoned> {
        let round = self.round.load(Ordering::SeqCst);
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.count {
            self.arrived.store(0, Ordering::SeqCst);
            self.round.store(round.wrapping_add(1), Ordering::SeqCst);
            self.wake_all();
        } else {
            let met = || self.round.load(Ordering::SeqCst) != round;
            let over = || met() || self.abandoned.load(Ordering::SeqCst);
            let patience = self.patience.load(Ordering::Relaxed);
            let mut spins = 0;
            while spins < patience && !over() {
                std::hint::spin_loop();
                spins += 1;
            }
            let in_vain = !over();
            self.learn(patience, in_vain);
            if in_vain {
                let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
                // Counted before it looks for the last time; who ends the round looks at the
                // count after. One of the two sees the other.
                self.sleeping.fetch_add(1, Ordering::SeqCst);
                while !over() {
                    guard = self
                        .wake
                        .wait(guard)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
            }
            // Who panics after they have met has no part in this round.
            if !met() {
                return Err(Abandoned);
            }
        }
        Ok(())
    }

    /// How patient to be after so much `patience`. In the quiet nothing is written, as all read it.
    fn learn(&self, patience: usize, in_vain: bool) {
        let next = match in_vain {
            true => (patience / 2).max(FEWEST_SPINS),
            false => 2 * patience,
        };
        let next = next.min(self.spins);
        if next != patience {
            self.patience.store(next, Ordering::Relaxed);
        }
    }

    fn wake_all(&self) {
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_passes_before_all_have_come() {
        for threads in [1, 2, 3, 8, 33] {
            let workers = Workers::new(threads).unwrap();
            assert_eq!(workers.count(), threads);
            let arrived = AtomicUsize::new(0);
            let run = workers.run(threads, |worker| {
                for round in 1..=200 {
                    arrived.fetch_add(1, Ordering::Relaxed);
                    worker.wait().unwrap();
                    assert_eq!(arrived.load(Ordering::Relaxed), round * threads);
                    worker.wait().unwrap();
                }
            });
            assert_eq!(run, Ok(()));
            assert_eq!(arrived.load(Ordering::Relaxed), 200 * threads);
        }
    }

    #[test]
    fn who_had_to_sleep_is_less_patient() {
        let patience = |barrier: &Barrier| barrier.patience.load(Ordering::Relaxed);
        let barrier = Barrier::new(2, SPINS);
        let mut expected = SPINS;
        for _ in 0..10 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while barrier.sleeping.load(Ordering::SeqCst) == 0 {
                        std::thread::yield_now();
                    }
                    barrier.wait().unwrap();
                });
                barrier.wait().unwrap();
            });
            expected = (expected / 2).max(FEWEST_SPINS);
            assert_eq!(patience(&barrier), expected);
        }
        assert_eq!(expected, FEWEST_SPINS);
        for _ in 0..10 {
            barrier.learn(patience(&barrier), false);
        }
        assert_eq!(patience(&barrier), SPINS);

        let none = Barrier::new(2, 0);
        for in_vain in [true, false] {
            none.learn(patience(&none), in_vain);
            assert_eq!(patience(&none), 0);
        }
    }

    #[test]
    fn values_are_made_by_the_threads_that_they_are_for() {
        let workers = Workers::new(3).unwrap();
        let threads = workers.make(3, |_| std::thread::current().id()).unwrap();
        assert_eq!(threads[0], std::thread::current().id());
        for count in [0, 1, 2, 3, 8] {
            let made = workers.make(count, |n| (n, std::thread::current().id()));
            let expected = (0..count).map(|n| (n, threads[n % 3])).collect();
            assert_eq!(made, Ok(expected), "{count}");
        }
    }

    #[test]
    fn only_as_many_work_as_are_asked_for() {
        let workers = Workers::new(4).unwrap();
        for active in [1, 3, 4, 9] {
            let seen = Mutex::new(Vec::new());
            workers
                .run(active, |worker| seen.lock().unwrap().push(worker.index))
                .unwrap();
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..active.min(4)));
        }
    }

    #[test]
    fn a_panic_ends_the_wait_of_the_others_and_is_told() {
        let workers = Workers::new(3).unwrap();
        for guilty in 0..3 {
            let run = workers.run(3, |worker| {
                worker.wait().unwrap();
                assert!(worker.index != guilty, "worker {guilty} fell");
                assert_eq!(worker.wait(), Err(Abandoned));
            });
            assert_eq!(run, Err(Panicked(format!("worker {guilty} fell"))));
        }
        // The threads are still there.
        assert_eq!(workers.run(3, |worker| worker.wait().unwrap()), Ok(()));
    }
}
