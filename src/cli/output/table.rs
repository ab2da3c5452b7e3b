//! Tables on a terminal: the colour of a cell, and a width that breaks nothing people copy.

use crate::model::{BatchNodeState, BatchState, PowerState, TaskState, Word};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};

/// Columns whose words may be parted over several lines; all others hold what people copy.
const PROSE: [&str; 10] = [
    "NOTE",
    "EVENT",
    "PHASE",
    "WOULD SEND",
    "ANSWER",
    "COUNTS",
    "PATH",
    "ERROR",
    "RESULT",
    "REASON",
];
/// Columns that are left out first where a terminal is too narrow for all, `-o json` has them.
const FIRST_TO_GO: [&str; 16] = [
    "UID", "PID", "METHOD", "ADDRESS", "BMC", "STEP", "BY", "TARGET", "LEFT", "READ", "ELAPSED",
    "AT MOST", "GUID", "FIRMWARE", "PRODUCT", "IPMI",
];
/// Prose in a column narrower than this is no help.
const NARROWEST: u16 = 24;

/// Makes a table fit: no name, id, port or time is ever broken. Prose is parted between words, sets of nodes behind their
/// commas, and where that is not enough columns are left out.
pub fn fit(table: &mut Table, width: u16) {
    let header: Vec<String> = table
        .header()
        .map(|row| row.cell_iter().map(Cell::content).collect())
        .unwrap_or_default();
    let gap = 2;
    let mut widths = table.column_max_content_widths();
    let prose = |column: usize| {
        header
            .get(column)
            .is_some_and(|head| PROSE.contains(&head.as_str()))
    };
    let needs = |widths: &[u16]| -> u16 {
        let each = widths.iter().enumerate().filter(|(_, width)| **width > 0);
        each.map(|(column, width)| {
            gap + if prose(column) {
                (*width).min(NARROWEST)
            } else {
                *width
            }
        })
        .sum()
    };
    for name in FIRST_TO_GO {
        if needs(&widths) <= width + gap {
            break;
        }
        // The first column says what the row is about.
        let column = header.iter().position(|head| head == name);
        if let Some(column) = column.filter(|column| *column > 0) {
            widths[column] = 0;
        }
    }
    let fixed: u16 = widths
        .iter()
        .enumerate()
        .filter(|(column, width)| !prose(*column) && **width > 0)
        .map(|(_, width)| width + gap)
        .sum();
    let flexible = (0..widths.len()).filter(|column| prose(*column)).count();
    let share = (width + gap).saturating_sub(fixed) / u16::try_from(flexible.max(1)).unwrap_or(1);
    for (column, width) in widths.iter().enumerate() {
        let Some(place) = table.column_mut(column) else {
            continue;
        };
        let constraint = match (width, prose(column)) {
            (0, _) => ColumnConstraint::Hidden,
            (_, true) => ColumnConstraint::UpperBoundary(Width::Fixed(share.max(NARROWEST))),
            (_, false) => ColumnConstraint::ContentWidth,
        };
        place.set_constraint(constraint);
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width.max(needs(&widths)) + gap);
}

/// How something is, in a colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// As it is wanted.
    Good,
    /// Somebody should look.
    Bad,
    /// Stopped or held by a person.
    Held,
    /// Neither.
    Plain,
}

/// A cell in the colour of what it says.
pub fn toned(text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Good => cell.fg(Color::Green),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Held => cell.fg(Color::Yellow),
        Tone::Plain => cell,
    }
}

/// A power state as a cell.
pub fn power_cell(state: PowerState) -> Cell {
    toned(state.name(), power_tone(state))
}

/// How a power state is.
pub fn power_tone(state: PowerState) -> Tone {
    match state {
        PowerState::On => Tone::Good,
        PowerState::Off => Tone::Plain,
        PowerState::Error | PowerState::Unknown => Tone::Bad,
    }
}

/// A task's state as a cell.
pub fn task_cell(state: &Word<TaskState>) -> Cell {
    toned(state.as_str(), state.known().map_or(Tone::Plain, task_tone))
}

fn task_tone(state: TaskState) -> Tone {
    match state {
        TaskState::Succeeded => Tone::Good,
        TaskState::Failed | TaskState::Stuck => Tone::Bad,
        TaskState::Suspended
        | TaskState::Aborting
        | TaskState::RollingBack
        | TaskState::Aborted
        | TaskState::Cancelled
        | TaskState::RolledBack => Tone::Held,
        TaskState::Queued | TaskState::Running => Tone::Plain,
    }
}

/// A batch's state as a cell.
pub fn batch_cell(state: &Word<BatchState>) -> Cell {
    let tone = match state.known() {
        Some(BatchState::Suspended) => Tone::Held,
        Some(
            BatchState::Running | BatchState::Stopped | BatchState::Ended | BatchState::Planned,
        )
        | None => Tone::Plain,
    };
    toned(state.as_str(), tone)
}

/// The state of one node of a batch as a cell.
pub fn batch_node_cell(state: &Word<BatchNodeState>) -> Cell {
    let tone = match state.known() {
        Some(BatchNodeState::Task(state)) => task_tone(state),
        Some(BatchNodeState::Forgotten | BatchNodeState::Found(_)) | None => Tone::Plain,
    };
    toned(state.as_str(), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Out;

    #[test]
    fn a_narrow_terminal_breaks_no_id_and_no_name() {
        let out = Out::of_a_person();
        let mut table = out.table(&["NODE", "STATE", "PHASE", "BY", "TASK"]);
        let id = "0197a5c3-7d11-7b6e-8f3a-0123456789ab";
        table.add_row([
            "r1n01",
            "running",
            "waiting for the machine to go down",
            "operator",
            id,
        ]);
        fit(&mut table, 80);
        insta::assert_snapshot!(table.trim_fmt(), @r"
        NODE   STATE    PHASE                       TASK
        r1n01  running  waiting for the machine to  0197a5c3-7d11-7b6e-8f3a-0123456789ab
                        go down
        ");
        fit(&mut table, 40);
        assert!(table.trim_fmt().contains(id));
    }

    #[test]
    fn what_a_row_is_about_stays_however_narrow_the_terminal_is() {
        let mut table = Out::of_a_person().table(&[
            "ADDRESS", "IPMI", "MAKER", "PRODUCT", "FIRMWARE", "POWER", "GUID", "NOTE",
        ]);
        let guid = "4c4c4544-0037-3510-8052-b4c04f4d3332";
        let note = "RMCP+, and IPMI 1.5 as well: switch that off at the BMC";
        table.add_row([
            "10.0.1.117:6230",
            "2.0",
            "Supermicro",
            "2327",
            "3.88",
            "power off",
            guid,
            note,
        ]);
        fit(&mut table, 80);
        insta::assert_snapshot!(table.trim_fmt(), @r"
        ADDRESS          IPMI  MAKER       PRODUCT  POWER      NOTE
        10.0.1.117:6230  2.0   Supermicro  2327     power off  RMCP+, and IPMI 1.5 as
                                                               well: switch that off at
                                                               the BMC
        ");
        fit(&mut table, 200);
        assert!(table.trim_fmt().contains(guid));
    }
}
