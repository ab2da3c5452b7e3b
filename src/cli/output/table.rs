//! Tables on a terminal: the colour of a cell, and a width that breaks nothing people copy.

use super::{Long, Out, folded};
use crate::model::{BatchNodeState, BatchState, PowerState, TaskState, Word};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table, Width};

/// Columns whose words may be parted over several lines; all others hold what people copy.
const PROSE: [&str; 12] = [
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
    "OPERATION",
    "WHAT",
];
/// Columns that are left out first where a terminal is too narrow for all, `-o json` has them.
const FIRST_TO_GO: [&str; 19] = [
    "UID", "PID", "METHOD", "PATH", "ADDRESS", "BMC", "STEP", "BY", "BEGAN", "TARGET", "LEFT",
    "READ", "ELAPSED", "AT MOST", "GUID", "FIRMWARE", "PRODUCT", "IPMI", "STATUS",
];
/// Prose in a column narrower than this is no help: a column that can be left out is, for its sake.
const NARROW: u16 = 24;
/// Where nothing more can be left out: a long word.
const NARROWEST: u16 = 10;
/// Blanks between columns, which stand behind each of them.
const GAP: u16 = 2;

/// Makes a table fit: no name, id, port or time is ever broken. Prose is parted between words, sets
/// of nodes behind their commas, and where that is not enough columns are left out, those with
/// nothing in them first: these are told.
pub(super) fn fit(table: &mut Table, width: u16) -> Vec<usize> {
    let header: Vec<String> = table
        .header()
        .map(|row| row.cell_iter().map(Cell::content).collect())
        .unwrap_or_default();
    let mut columns: Vec<Wanted> = table
        .column_max_content_widths()
        .into_iter()
        .zip(&header)
        .map(|(width, head)| Wanted {
            width,
            is_prose: PROSE.contains(&head.as_str()),
        })
        .collect();
    // Behind the last column there is nothing.
    let room = width + GAP;
    let empty = |column: usize| {
        let mut cells = table.row_iter().map(|row| row.cell_iter().nth(column));
        table.row_iter().next().is_some()
            && cells.all(|cell| cell.is_none_or(|it| it.content().is_empty()))
    };
    let named = FIRST_TO_GO
        .iter()
        .filter_map(|name| header.iter().position(|head| head == name));
    // The first column says what the row is about.
    for column in (0..header.len())
        .filter(|column| empty(*column))
        .chain(named)
    {
        if column > 0 && needed(&columns, NARROW) > room {
            columns[column].width = 0;
        }
    }
    let least = match needed(&columns, NARROW) > room {
        true => NARROWEST,
        false => NARROW,
    };
    let share = share(&columns, room);
    for (column, wanted) in columns.iter().enumerate() {
        let Some(place) = table.column_mut(column) else {
            continue;
        };
        let constraint = match (wanted.width, wanted.is_prose) {
            (0, _) => ColumnConstraint::Hidden,
            (width, true) => {
                let most = share.max(least + GAP);
                ColumnConstraint::Absolute(Width::Fixed(most.min(width + GAP)))
            }
            (width, false) => ColumnConstraint::Absolute(Width::Fixed(width + GAP)),
        };
        place.set_constraint(constraint);
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width.max(needed(&columns, least)) + GAP);
    let hidden = columns.iter().enumerate();
    let hidden = hidden.filter(|(_, column)| column.width == 0);
    hidden.map(|(column, _)| column).collect()
}

/// The same, with nothing left out: what has no column stands beneath its row, with the head of its
/// column before it.
pub(super) fn whole(out: &Out, table: &mut Table, width: u16) -> String {
    let hidden = fit(table, width);
    let head: Vec<String> = table.header().map(contents).unwrap_or_default();
    let mut text = String::new();
    for row in table.row_iter() {
        // Drawn alone, as wide as all of them are.
        let mut alone = out.table(&head.iter().map(String::as_str).collect::<Vec<_>>());
        alone.add_row(row.clone());
        for (column, of_all) in alone.column_iter_mut().zip(table.column_iter()) {
            column.set_constraint(*of_all.constraint().expect("it was made to fit"));
        }
        alone.set_content_arrangement(ContentArrangement::Dynamic);
        alone.set_width(table.width().unwrap_or(width));
        let drawn = alone.trim_fmt();
        let mut lines = drawn.lines();
        let titles = lines.next().filter(|_| text.is_empty());
        let cells = contents(row);
        let rest = hidden.iter().filter_map(|column| {
            let (title, cell) = (head.get(*column)?, cells.get(*column)?);
            // A set of nodes may have been broken behind its commas.
            (!cell.is_empty()).then(|| format!("{title} {}", cell.replace('\n', "")))
        });
        let rest = beneath(rest, usize::from(width));
        for line in titles.into_iter().chain(lines).chain(rest.lines()) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    match text.is_empty() {
        true => table.trim_fmt(),
        false => text,
    }
}

fn contents(row: &Row) -> Vec<String> {
    row.cell_iter().map(Cell::content).collect()
}

/// What stands beneath a row: as much in a line as fits, and no word of it broken.
fn beneath(parts: impl Iterator<Item = String>, width: usize) -> String {
    const INDENT: usize = 4;
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let fits = |line: &&mut String| line.chars().count() + 2 + part.chars().count() <= width;
        match lines.last_mut().filter(fits) {
            Some(line) => line.push_str(&format!("  {part}")),
            None => lines.extend(folded(
                &format!("{}{part}", " ".repeat(INDENT)),
                width,
                Long::Whole,
            )),
        }
    }
    lines.join("\n")
}

/// A column as it would be without any limit.
struct Wanted {
    /// Its letters; none where it is left out.
    width: u16,
    is_prose: bool,
}

/// How wide a table is whose prose has no more than `least` where it wants more.
fn needed(columns: &[Wanted], least: u16) -> u16 {
    let shown = columns.iter().filter(|column| column.width > 0);
    shown
        .map(|column| {
            GAP + match column.is_prose {
                true => column.width.min(least),
                false => column.width,
            }
        })
        .sum()
}

/// What each of the columns of prose gets that want more than their share, with the gap behind it.
fn share(columns: &[Wanted], room: u16) -> u16 {
    let shown = columns.iter().filter(|column| column.width > 0);
    let (mut prose, fixed): (Vec<_>, Vec<_>) = shown.partition(|column| column.is_prose);
    let taken: u16 = fixed.iter().map(|column| column.width + GAP).sum();
    let mut free = room.saturating_sub(taken);
    prose.sort_by_key(|column| column.width);
    for (place, column) in prose.iter().enumerate() {
        let others = u16::try_from(prose.len() - place).unwrap_or(u16::MAX);
        if column.width + GAP > free / others {
            return free / others;
        }
        free -= column.width + GAP;
    }
    // All fit.
    room
}

/// How something is, in a colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    /// As it is wanted.
    Good,
    /// Somebody should look.
    Bad,
    /// Stopped or held by a person.
    Held,
    Plain,
}

/// A cell in the colour of what it says.
pub(crate) fn toned(text: &str, tone: Tone) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Good => cell.fg(Color::Green),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Held => cell.fg(Color::Yellow),
        Tone::Plain => cell,
    }
}

/// A power state as a cell.
pub(crate) fn power_cell(state: PowerState) -> Cell {
    toned(state.name(), power_tone(state))
}

/// How a power state is.
pub(crate) fn power_tone(state: PowerState) -> Tone {
    match state {
        PowerState::On => Tone::Good,
        PowerState::Off => Tone::Plain,
        PowerState::Error | PowerState::Unknown => Tone::Bad,
    }
}

/// A task's state as a cell.
pub(crate) fn task_cell(state: &Word<TaskState>) -> Cell {
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
pub(crate) fn batch_cell(state: &Word<BatchState>) -> Cell {
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
pub(crate) fn batch_node_cell(state: &Word<BatchNodeState>) -> Cell {
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
    fn many_columns_fit_a_terminal_of_eighty_letters() {
        let out = Out::of_a_person();
        let mut batches = out.table(&[
            "ASKED",
            "OPERATION",
            "STATE",
            "NODES",
            "COUNTS",
            "BY",
            "BATCH",
        ]);
        let at = "2026-11-27 07:03:22";
        let nodes = "r1n[01-09,11,\n13-17]";
        let counts = "1 failed, 37 succeeded, 2 rolled back";
        batches.add_row([
            at,
            "soft power off",
            "running",
            nodes,
            counts,
            "operator",
            "b:a91v6",
        ]);
        fit(&mut batches, 80);
        insta::assert_snapshot!(batches.trim_fmt(), @r"
        ASKED                OPERATION     STATE    NODES          COUNTS        BATCH
        2026-11-27 07:03:22  soft power    running  r1n[01-09,11,  1 failed, 37  b:a91v6
                             off                    13-17]         succeeded, 2
                                                                   rolled back
        ");
        let mut audit = out.table(&[
            "NUMBER", "AT", "USER", "UID", "PID", "METHOD", "PATH", "WHAT", "NODES", "STATUS",
            "BEGAN", "ERROR",
        ]);
        let path = "/v1/batches";
        audit.add_row([
            "1",
            at,
            "root",
            "0",
            "4711",
            "POST",
            path,
            "soft power off",
            "r1n01",
            "202",
            "t:nna3w",
            "",
        ]);
        let error = "node r1n01 is busy. r1n01: power off by root is running";
        audit.add_row([
            "2",
            at,
            "anna",
            "1000",
            "4712",
            "POST",
            path,
            "power off",
            "r1n01",
            "409",
            "",
            error,
        ]);
        fit(&mut audit, 80);
        let text = audit.trim_fmt();
        let kept = ["AT", "USER", "WHAT", "NODES", "ERROR"];
        assert!(kept.iter().all(|head| text.contains(head)), "{text}");
        // Between words.
        assert!(
            text.contains(" running\n") || text.contains(" by\n"),
            "{text}"
        );
        for table in [&batches, &audit] {
            let lines = table.trim_fmt();
            assert!(
                lines.lines().all(|line| line.chars().count() <= 80),
                "{lines}"
            );
        }
        fit(&mut audit, 240);
        assert!(audit.trim_fmt().contains("t:nna3w"));
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
