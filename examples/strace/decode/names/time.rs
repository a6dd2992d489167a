//! Constants of clocks and timers.

use super::{Names, names};

/// Clocks.
pub(crate) const CLOCK: Names = names![
    CLOCK_REALTIME,
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID,
    CLOCK_MONOTONIC_RAW,
    CLOCK_REALTIME_COARSE,
    CLOCK_MONOTONIC_COARSE,
    CLOCK_BOOTTIME,
    CLOCK_REALTIME_ALARM,
    CLOCK_BOOTTIME_ALARM,
    CLOCK_TAI,
];

/// Flags of clock_nanosleep(2) and timer_settime(2).
pub(crate) const TIMER: Names = names![TIMER_ABSTIME];

/// Flags of timerfd_settime(2).
pub(crate) const TIMERFD_SET: Names = names![TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET = 2];

/// Timers of setitimer(2).
pub(crate) const ITIMER: Names = names![ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF];
