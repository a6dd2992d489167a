//! The table of `-c`.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;

/// What was counted, by the name of the call.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: HashMap<&'static str, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    calls: u64,
    errors: u64,
    time: Duration,
}

impl Tally {
    /// Counts a call that has returned.
    pub(crate) fn add(&mut self, name: &'static str, time: Duration, failed: bool) {
        let count = self.calls.entry(name).or_default();
        count.calls += 1;
        count.errors += u64::from(failed);
        count.time += time;
    }

    /// The table, the call that took most time first.
    pub(crate) fn table(&self) -> String {
        let mut rows: Vec<_> = self
            .calls
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect();
        rows.sort_by(|(a, x), (b, y)| y.time.cmp(&x.time).then(a.cmp(b)));
        let total = rows.iter().fold(Count::default(), |sum, (_, count)| Count {
            calls: sum.calls + count.calls,
            errors: sum.errors + count.errors,
            time: sum.time + count.time,
        });
        let rule = "------ ----------- ----------- --------- --------- ----------------\n";
        let mut table =
            String::from("% time     seconds  usecs/call     calls    errors syscall\n");
        table.push_str(rule);
        for (name, count) in &rows {
            count.write_row(&mut table, name, total.time);
        }
        table.push_str(rule);
        total.write_row(&mut table, "total", total.time);
        table
    }
}

impl Count {
    fn write_row(&self, table: &mut String, name: &str, total: Duration) {
        let seconds = self.time.as_secs_f64();
        let percent = match total.is_zero() {
            true => 0.0,
            false => 100.0 * seconds / total.as_secs_f64(),
        };
        let each = self.time.as_micros() / u128::from(self.calls.max(1));
        let errors = match self.errors {
            0 => String::new(),
            errors => errors.to_string(),
        };
        let calls = self.calls;
        let _ = writeln!(
            table,
            "{percent:6.2} {seconds:11.6} {each:11} {calls:9} {errors:>9} {name}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_time() {
        let mut tally = Tally::default();
        tally.add("read", Duration::from_micros(10), false);
        tally.add("open", Duration::from_micros(60), true);
        tally.add("read", Duration::from_micros(30), false);
        let expected = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000060          60         1         1 open
 40.00    0.000040          20         2           read
------ ----------- ----------- --------- --------- ----------------
100.00    0.000100          33         3         1 total
";
        assert_eq!(tally.table(), expected);
    }

    #[test]
    fn nothing_counted_is_a_table_too() {
        let table = Tally::default().table();
        assert!(table.ends_with("  0.00    0.000000           0         0           total\n"));
    }
}
