//! The two cores that the bench needs: one for what is measured, one for all that goes on beside it.

use std::sync::OnceLock;

/// One of the cores that this process may use.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Core {
    First,
    Second,
}

impl Core {
    /// Moves the calling thread there, and with it the threads that it starts from then on.
    pub(crate) fn move_here(self) {
        // Asked once, since it is the thread's cores that one gets, and a thread that was moved has one.
        static CORES: OnceLock<Vec<core_affinity::CoreId>> = OnceLock::new();
        let cores = CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
        let core = cores.get(match self {
            Self::First => 0,
            Self::Second => 1,
        });
        assert!(core.is_some_and(|core| core_affinity::set_for_current(*core)), "this bench needs two cores");
    }
}
