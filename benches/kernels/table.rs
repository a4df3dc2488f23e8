//! What was measured, as a table and as JSON.

use serde_json::json;

use crate::machine::Machine;
use crate::{Case, Row};

const HEADER: [&str; 9] = [
    "kernel",
    "way",
    "shape",
    "threads",
    "time",
    "rate",
    "of the peak",
    "executed",
    "times reference",
];

/// Columns of words, which begin on the left; numbers end on the right.
const WORDS: usize = 3;

/// What a second brings.
impl Row {
    /// 10^9 operations of the definition.
    pub fn gflops(&self) -> Option<f64> {
        (self.case.flops > 0).then(|| self.case.flops as f64 / self.seconds / 1e9)
    }

    /// 10^9 operations that are really done, where they are others.
    pub fn executed_gflops(&self) -> Option<f64> {
        let flops = self.case.executed_flops?;
        Some(flops as f64 / self.seconds / 1e9)
    }

    /// 10^9 bytes.
    pub fn gbs(&self) -> Option<f64> {
        (self.case.bytes > 0).then(|| self.case.bytes as f64 / self.seconds / 1e9)
    }

    /// The share of what the machine can do, of operations really done or of bytes.
    fn of_peak(&self, machine: &Machine) -> Option<f64> {
        let limits = machine.limits(self.case.threads);
        if self.case.memory_bound {
            Some(self.gbs()? / limits.gbs)
        } else {
            Some(self.executed_gflops().or(self.gflops())? / limits.gflops)
        }
    }

    /// How many times faster it does the same work than `reference`, if that was measured.
    fn times_reference(&self, rows: &[Row]) -> Option<f64> {
        let case = &self.case;
        let same = |other: &Case| other.group == case.group && other.shape == case.shape;
        let reference = rows
            .iter()
            .find(|row| row.case.way == "reference" && same(&row.case))?;
        // The reference may do more work at once.
        let each = |row: &Row| row.seconds / row.case.flops.max(1) as f64;
        Some(each(reference) / each(self))
    }

    fn cells(&self, machine: &Machine, rows: &[Row]) -> [String; HEADER.len()] {
        let case = &self.case;
        let rate = if case.memory_bound {
            self.gbs().map(|gbs| format!("{gbs:.1} GB/s"))
        } else {
            self.gflops().map(|gflops| format!("{gflops:.1} GFLOP/s"))
        };
        let of_peak = self.of_peak(machine);
        let executed = self.executed_gflops();
        let times = self.times_reference(rows);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            case.group.to_owned(),
            case.way.clone(),
            case.shape.clone(),
            match case.threads {
                0 => "GPU".to_owned(),
                threads => threads.to_string(),
            },
            time(self.seconds),
            or_dash(rate),
            or_dash(of_peak.map(|share| format!("{:.1} %", 100.0 * share))),
            or_dash(executed.map(|gflops| format!("{gflops:.1} GFLOP/s"))),
            or_dash(times.map(|times| format!("{times:.2}"))),
        ]
    }
}

/// `seconds` with a unit and four digits.
fn time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        ..1e-6 => (1e9 * seconds, "ns"),
        ..1e-3 => (1e6 * seconds, "us"),
        ..1.0 => (1e3 * seconds, "ms"),
        _ => (seconds, "s"),
    };
    format!(
        "{number:.prec$} {unit}",
        prec = if number < 100.0 { 2 } else { 1 }
    )
}

/// A table of Markdown whose columns are also aligned as text.
pub fn markdown(machine: &Machine, rows: &[Row]) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| row.cells(machine, rows)));
    let width = |column: usize| lines.iter().map(|cells| cells[column].len()).max();
    let widths: [usize; HEADER.len()] = std::array::from_fn(|column| width(column).unwrap_or(0));

    let mut text = format!(
        "{}, {} threads. Multiplying and adding with {}: {:.1} GFLOP/s on one thread, {:.1} on \
         all. Memory: {:.1} GB/s and {:.1}.\n\n",
        machine.cpu,
        machine.threads,
        machine.vectors,
        machine.one.gflops,
        machine.all.gflops,
        machine.one.gbs,
        machine.all.gbs,
    );
    if let Some((name, limits)) = &machine.gpu {
        text += &format!(
            "{name}: {:.0} GFLOP/s, {:.0} GB/s.\n\n",
            limits.gflops, limits.gbs
        );
    }
    for (line, cells) in lines.iter().enumerate() {
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            text += &if column < WORDS {
                format!("| {cell:<width$} ")
            } else {
                format!("| {cell:>width$} ")
            };
        }
        text += "|\n";
        if line == 0 {
            for (column, width) in widths.into_iter().enumerate() {
                let end = if column < WORDS { "-" } else { ":" };
                text += &format!("| {}{end} ", "-".repeat(width - 1));
            }
            text += "|\n";
        }
    }
    text += "\nRates in GB/s are of kernels that memory limits, and their peak is its bandwidth: \
             more than 100 % is the work of caches. Executed are the operations really done, \
             where they are fewer than the definition's, and then the share of the peak is \
             theirs. The reference, and lanes for the gradient by the input, compute both \
             gradients of a convolution at once: their time is for both, and so is their rate. \
             Lanes compute a group of images at once: the time is that of one.\n";
    text
}

/// Everything, for programs.
pub fn json(machine: &Machine, rows: &[Row]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let mut value = json!(row);
            value["gflops"] = json!(row.gflops());
            value["executed_gflops"] = json!(row.executed_gflops());
            value["gbs"] = json!(row.gbs());
            value["of_peak"] = json!(row.of_peak(machine));
            value["times_reference"] = json!(row.times_reference(rows));
            value
        })
        .collect();
    let all = json!({
        "date": jiff::Timestamp::now().to_string(),
        "cpu": machine.cpu,
        "threads": machine.threads,
        "vectors": machine.vectors,
        "peak_gflops": machine.all.gflops,
        "peak_gflops_one_thread": machine.one.gflops,
        "bandwidth_gbs": machine.all.gbs,
        "bandwidth_gbs_one_thread": machine.one.gbs,
        "gpu": machine.gpu.as_ref().map(|(name, limits)| json!({
            "name": name,
            "peak_gflops": limits.gflops,
            "bandwidth_gbs": limits.gbs,
        })),
        "rows": rows,
    });
    format!("{all:#}\n")
}
