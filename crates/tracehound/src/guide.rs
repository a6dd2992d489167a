#![doc = include_str!("../docs/guide.md")]

/// A module that is one page: `docs/FOLDER/NAME.md`.
macro_rules! pages {
    ($folder:literal: $($name:ident)*) => {
        $(
            pub mod $name {
                #![doc = include_str!(concat!("../docs/", $folder, "/", stringify!($name), ".md"))]
            }
        )*
    };
}

pub mod refusals {
    #![doc = include_str!("../docs/refusals.md")]

    pages! { "refusals":
        call_blocked
        kernel_thread
        own_process
        different_user
        not_dumpable
        user_namespace
        missing_capabilities
        yama
        denied
        zombie
        already_traced
        own_child
        hidden
    }
}

pub mod errors {
    #![doc = include_str!("../docs/errors.md")]

    pages! { "errors":
        running
        gone
        detached
        no_such_process
        busy
        not_a_signal_stop
        no_such_signal
        wrong_stop
        memory
        no_register_set
        no_free_debug_register
        not_privileged
        invalid_argument
        shutdown
        forked
        spawn
        wake_signal
        unsupported
        not_configured
        architecture
        system
    }
}

pub mod open_questions {
    #![doc = include_str!("../docs/open_questions.md")]
}
