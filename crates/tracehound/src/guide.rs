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
        filtered
        no_such_process
        busy
        too_many_tracees
        not_a_signal_stop
        no_such_signal
        wrong_stop
        memory
        timed_out
        no_register_set
        no_free_debug_register
        not_privileged
        invalid_argument
        shutdown
        forked
        spawn
        wake_signal
        cpu_unavailable
        unsupported
        not_configured
        architecture
        system
    }
}

pub mod filters {
    #![doc = include_str!("../docs/filters.md")]
}

pub mod placement {
    #![doc = include_str!("../docs/placement.md")]
}

pub mod open_questions {
    #![doc = include_str!("../docs/open_questions.md")]
}

#[cfg(test)]
mod tests {
    /// The variants of an enum in a source file, in the way in which modules are named.
    fn variants(source: &str, name: &str) -> Vec<String> {
        let begin = format!("pub enum {name} {{\n");
        let (_, body) = source.split_once(&begin).expect("the enum");
        let (body, _) = body.split_once("\n}\n").expect("its end");
        let is_variant = |line: &&str| line.starts_with(|c: char| c.is_ascii_uppercase());
        body.lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(is_variant)
            .map(|line| snake(line.split(['(', ' ', ',']).next().unwrap_or_default()))
            .collect()
    }

    fn snake(name: &str) -> String {
        let mut snake = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        snake
    }

    fn have_pages(variants: &[String], folder: &str) {
        let (_, pages) = include_str!("guide.rs")
            .split_once(&format!("pages! {{ \"{folder}\":\n"))
            .expect("the pages");
        let (pages, _) = pages.split_once('}').expect("their end");
        let pages: Vec<&str> = pages.split_whitespace().collect();
        assert!(variants.len() > 10, "{variants:?}");
        for variant in variants {
            assert!(pages.contains(&variant.as_str()), "{variant} has no page");
        }
    }

    #[test]
    fn every_error_has_a_page() {
        let mut errors = variants(include_str!("error.rs"), "Error");
        // Its reasons have.
        errors.retain(|error| error != "not_permitted");
        have_pages(&errors, "errors");
    }

    #[test]
    fn every_refusal_has_a_page() {
        let mut refusals = variants(include_str!("refusal/mod.rs"), "Refusal");
        // On that of the different user.
        refusals.retain(|refusal| refusal != "different_group");
        have_pages(&refusals, "refusals");
    }
}
