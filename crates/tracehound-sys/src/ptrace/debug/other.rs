//! Architectures whose debug registers are not known here.

use super::HardwareBreakpoint;
use crate::{Errno, Result, Tid};

pub(super) fn list(_: Tid) -> Result<Vec<HardwareBreakpoint>> {
    Err(Errno::EOPNOTSUPP)
}

pub(super) fn set(_: Tid, _: &HardwareBreakpoint) -> Result<()> {
    Err(Errno::EOPNOTSUPP)
}

pub(super) fn clear(_: Tid, _: &HardwareBreakpoint) -> Result<bool> {
    Err(Errno::EOPNOTSUPP)
}

pub(super) fn clear_all(_: Tid) -> Result<()> {
    Err(Errno::EOPNOTSUPP)
}

pub(super) fn fired(_: Tid) -> Result<Vec<HardwareBreakpoint>> {
    Err(Errno::EOPNOTSUPP)
}
