//! Sets of node names as operators write them, both ways: `r1n[01-03,10]` expanded to names, names
//! folded to that.
//!
//! Used by `config` (names and addresses that expand in step) and by `cli` (targets). Knows no
//! nodes: whether a name exists is for others to say, and groups come from a resolver. The notation
//! is that of ClusterShell and powerman; where tools differ (`n[8-011]`) this one is strict.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Names that one expression, or several together, may expand to at most, repeated ones counted.
pub const LIMIT: usize = 65_536;
/// How many bytes these may have: a long name before brackets is long in each of its names.
const BYTES_LIMIT: usize = 4 << 20;
/// Digits that a number in brackets may have at most: what fits a `u64` whatever the digits are.
const DIGITS: usize = 18;

/// What the names of a group are; `None` where there is no such group. `@*` asks for `all`, `r7/@*`
/// for `r7/all`.
pub type Groups<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// What is wrong with an expression, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSetError {
    /// The expression as it was written.
    pub text: String,
    /// Where in it, in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What can be wrong with an expression.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// No name at all (rule 7: never "all").
    #[error("no targets: name at least one node")]
    NoTargets,
    /// Everything that was named was taken out again.
    #[error("no targets: nothing is left of what was named")]
    NothingLeft,
    /// A comma or an operator has nothing on one side.
    #[error("a name is missing {0}")]
    MissingName(&'static str),
    /// `[` without `]`.
    #[error("this '[' is never closed with ']'")]
    Unclosed,
    /// A character that cannot stand there.
    #[error("'{0}' cannot stand here")]
    Unexpected(char),
    /// `[]`, or nothing between two commas in brackets.
    #[error("a number is missing in the brackets: write them like [1-3,5]")]
    MissingNumber,
    /// Not a number, a range or a range with a step.
    #[error("'{0}' is no range: write it like 7, 1-3 or 1-9/2")]
    NotARange(String),
    /// More digits than any rack has.
    #[error("'{0}' has more than 18 digits")]
    TooManyDigits(String),
    /// The end lies before the beginning.
    #[error("the range {0}-{1} runs backwards: write {1}-{0}")]
    Backwards(String, String),
    /// One bound has leading zeros and the other one another length.
    #[error("{0}-{1} is unclear: with leading zeros both numbers must have the same length")]
    Padding(String, String),
    /// A step of zero.
    #[error("a step of 0 never arrives: write 1 or more")]
    ZeroStep,
    /// Too many names.
    #[error("more than {0} names, or more than 4 MB of them")]
    TooMany(usize),
    /// The resolver does not know it.
    #[error("there is no group '{0}'")]
    NoSuchGroup(String),
}

impl fmt::Display for NodeSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.trim().is_empty() {
            return write!(f, "{}", self.fault);
        }
        write!(f, "'{}', column {}: {}", self.text, self.column, self.fault)
    }
}

impl std::error::Error for NodeSetError {}

/// The names that an expression stands for, each once, in the order of writing.
///
/// Names, `@groups` and both with brackets, joined from left to right: a comma or blanks add, `!`
/// takes out, `&` keeps what is in both. A name without brackets stands for itself. Where there are
/// many racks a name may begin with its rack: `r7/n03`; the resolver knows the group `r7/@compute`
/// as `r7/compute`.
///
/// # Errors
/// Anything that is not such an expression, more than [`LIMIT`] names, and no name at all: with the
/// place.
pub fn expand(text: &str, groups: Groups<'_>) -> Result<Vec<String>, NodeSetError> {
    expand_within(text, groups, &mut Budget::of(LIMIT))
}

/// How much may still be expanded.
struct Budget {
    most: usize,
    names: usize,
    bytes: usize,
}

impl Budget {
    /// Budget for so many names.
    fn of(most: usize) -> Self {
        Self {
            most,
            names: most,
            bytes: BYTES_LIMIT,
        }
    }

    /// Takes so much of it; whether it was there.
    fn take(&mut self, names: usize, bytes: usize) -> bool {
        let fits = names <= self.names && bytes <= self.bytes;
        if fits {
            self.names -= names;
            self.bytes -= bytes;
        }
        fits
    }
}

fn expand_within(
    text: &str,
    groups: Groups<'_>,
    budget: &mut Budget,
) -> Result<Vec<String>, NodeSetError> {
    let fault = |at: usize, fault| NodeSetError {
        text: text.to_owned(),
        column: text[..at].chars().count() + 1,
        fault,
    };
    let mut names = Names::default();
    // What joins the next operand to those before, and whether it was written out.
    let mut join = Join::Add;
    let mut joined_at = None;
    let mut begun = false;
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        if let Some(written) = Join::written(next) {
            if !begun || joined_at.is_some() {
                return Err(fault(at, Fault::MissingName("before this")));
            }
            (join, joined_at) = (written, Some(at));
            at += 1;
            continue;
        }
        let end = at + operand_length(&text[at..]);
        let operand = &text[at..end];
        let mark = group_mark(operand);
        let is_group = mark.is_some();
        let (before, behind) = operand.split_at(mark.unwrap_or(0));
        let name = format!("{before}{}", &behind[usize::from(is_group)..]);
        let pattern = Pattern::parse(&name).map_err(|(inner, f)| {
            let marked = mark.is_some_and(|mark| inner >= mark);
            fault(at + inner + usize::from(marked), f)
        })?;
        let mut these = pattern
            .names(budget)
            .ok_or_else(|| fault(at, Fault::TooMany(budget.most)))?;
        if is_group {
            let mut members = Vec::new();
            for group in these {
                let known = match group.strip_suffix('*') {
                    Some(rack) if rack.is_empty() || rack.ends_with('/') => format!("{rack}all"),
                    _ => group.clone(),
                };
                let found = groups(&known);
                let found = found.ok_or_else(|| fault(at, Fault::NoSuchGroup(group.clone())))?;
                if !budget.take(found.len(), found.iter().map(String::len).sum()) {
                    return Err(fault(at, Fault::TooMany(budget.most)));
                }
                members.extend(found);
            }
            these = members;
        }
        names.join(join, these);
        (join, joined_at, begun) = (Join::Add, None, true);
        at = end;
    }
    match joined_at {
        Some(at) => Err(fault(at, Fault::MissingName("after this"))),
        None if !begun => Err(fault(0, Fault::NoTargets)),
        None if names.order.is_empty() => Err(fault(0, Fault::NothingLeft)),
        None => Ok(names.order),
    }
}

/// The names that several expressions stand for together, without those that the `excluded` ones
/// stand for (`-x`).
///
/// # Errors
/// As [`expand`]; also where the exclusion leaves nothing. An empty list of exclusions excludes
/// nothing.
pub fn expand_all(
    texts: &[impl AsRef<str>],
    excluded: &[impl AsRef<str>],
    groups: Groups<'_>,
) -> Result<Vec<String>, NodeSetError> {
    expand_few(texts, excluded, groups, LIMIT)
}

/// The same where `texts`, and `excluded`, stand for so many names at most, repeated ones counted.
/// Found out before they are made.
///
/// # Errors
/// As [`expand_all`].
pub fn expand_few(
    texts: &[impl AsRef<str>],
    excluded: &[impl AsRef<str>],
    groups: Groups<'_>,
    most: usize,
) -> Result<Vec<String>, NodeSetError> {
    let whole = || {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        texts.join(" ")
    };
    let nothing = |fault| NodeSetError {
        text: whole(),
        column: 1,
        fault,
    };
    let (mut names, mut budget) = (Names::default(), Budget::of(most));
    for text in texts {
        let these = expand_within(text.as_ref(), groups, &mut budget)?;
        names.join(Join::Add, these);
    }
    if names.order.is_empty() {
        return Err(nothing(Fault::NoTargets));
    }
    let mut budget = Budget::of(most);
    for text in excluded {
        let these = expand_within(text.as_ref(), groups, &mut budget)?;
        names.join(Join::TakeOut, these);
    }
    if names.order.is_empty() {
        return Err(nothing(Fault::NothingLeft));
    }
    Ok(names.order)
}

/// The strings that one pattern with brackets stands for, in the order of writing, a repeated one
/// repeated: for things that expand in step. No groups, lists or operators; any other character
/// stands for itself.
///
/// # Errors
/// A fault in the brackets, or more than [`LIMIT`] strings.
pub fn expand_pattern(text: &str) -> Result<Vec<String>, NodeSetError> {
    let fault = |at: usize, fault| NodeSetError {
        text: text.to_owned(),
        column: text[..at].chars().count() + 1,
        fault,
    };
    let pattern = Pattern::parse(text).map_err(|(at, f)| fault(at, f))?;
    let names = pattern.names(&mut Budget::of(LIMIT));
    names.ok_or_else(|| fault(0, Fault::TooMany(LIMIT)))
}

/// The shortest way that we know to write these names: `n[01-03,10]`, `rack[1-2]n[01-02]`; sorted,
/// joined by commas.
///
/// [`expand`] makes the same names of it, as long as no name has a blank or one of `[],!&@` in it.
pub fn fold<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let names: Vec<S> = names.into_iter().collect();
    // As good as always.
    if let [one] = names.as_slice() {
        return one.as_ref().to_owned();
    }
    // Names of one build (the same text between their numbers) can be written with brackets.
    let mut builds: BTreeMap<Vec<String>, BTreeSet<Vec<Number>>> = BTreeMap::new();
    for name in names {
        let (texts, numbers) = split(name.as_ref());
        builds.entry(texts).or_default().insert(numbers);
    }
    // What is written, after the first name in it: the order to show them in.
    let mut folded: Vec<(String, String)> = Vec::new();
    for (texts, points) in builds {
        for block in merge(points) {
            let first = |numbers: &BTreeSet<Number>| numbers.iter().take(1).cloned().collect();
            let first: Block = block.iter().map(first).collect();
            folded.push((write_block(&texts, &first), write_block(&texts, &block)));
        }
    }
    folded.sort_by(|a, b| natural_order(&a.0, &b.0));
    let written: Vec<String> = folded.into_iter().map(|(_, written)| written).collect();
    written.join(",")
}

/// The order in which people count: `n2` before `n10`.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (a_texts, a_numbers) = split(a);
    let (b_texts, b_numbers) = split(b);
    let by_value = |number: &Number| number.value;
    for index in 0..a_texts.len().min(b_texts.len()) {
        let texts = a_texts[index].cmp(&b_texts[index]);
        let numbers = a_numbers
            .get(index)
            .map(by_value)
            .cmp(&b_numbers.get(index).map(by_value));
        let order = texts.then(numbers);
        if order.is_ne() {
            return order;
        }
    }
    a_texts.len().cmp(&b_texts.len()).then_with(|| a.cmp(b))
}

/// How an operand joins those before it.
#[derive(Clone, Copy)]
enum Join {
    Add,
    TakeOut,
    Keep,
}

impl Join {
    fn written(mark: char) -> Option<Self> {
        match mark {
            ',' => Some(Self::Add),
            '!' => Some(Self::TakeOut),
            '&' => Some(Self::Keep),
            _ => None,
        }
    }
}

/// Names in the order of writing, each once.
#[derive(Default)]
struct Names {
    order: Vec<String>,
    present: BTreeSet<String>,
}

impl Names {
    fn join(&mut self, join: Join, these: Vec<String>) {
        match join {
            Join::Add => {
                for name in these {
                    if self.present.insert(name.clone()) {
                        self.order.push(name);
                    }
                }
            }
            Join::TakeOut | Join::Keep => {
                let these: BTreeSet<String> = these.into_iter().collect();
                let keep = matches!(join, Join::Keep);
                self.order.retain(|name| these.contains(name) == keep);
                self.present.retain(|name| these.contains(name) == keep);
            }
        }
    }
}

/// Where in an operand the sign of a group stands: at its beginning, or behind the rack that the
/// group is of.
fn group_mark(operand: &str) -> Option<usize> {
    match operand.starts_with('@') {
        true => Some(0),
        false => operand.find("/@").map(|slash| slash + 1),
    }
}

/// The bytes of the operand that `text` begins with: up to a blank or an operator outside brackets.
fn operand_length(text: &str) -> usize {
    let mut inside = false;
    for (at, character) in text.char_indices() {
        match character {
            '[' => inside = true,
            ']' => inside = false,
            // A blank ends it in brackets too, so that the fault is shown there and not at the end
            // of the list.
            c if c.is_whitespace() => return at,
            c if !inside && Join::written(c).is_some() => return at,
            _ => {}
        }
    }
    text.len()
}

/// A name with brackets, read.
struct Pattern {
    /// The text before each bracket, and that after the last one.
    texts: Vec<String>,
    brackets: Vec<Vec<Range>>,
}

/// Numbers from `first` to `last` in steps, written with `width` digits where they have leading
/// zeros.
struct Range {
    first: u64,
    last: u64,
    step: u64,
    width: usize,
}

impl Pattern {
    /// Reads a pattern; a fault comes with its byte position.
    fn parse(text: &str) -> Result<Self, (usize, Fault)> {
        let (mut texts, mut brackets) = (vec![String::new()], Vec::new());
        let mut at = 0;
        while let Some(next) = text[at..].chars().next() {
            match next {
                '[' => {
                    let inner = at + 1;
                    let close = text[inner..].find(']').ok_or((at, Fault::Unclosed))?;
                    brackets.push(ranges(&text[inner..inner + close], inner)?);
                    texts.push(String::new());
                    at = inner + close + 1;
                    continue;
                }
                ']' | '@' => return Err((at, Fault::Unexpected(next))),
                other => texts.last_mut().expect("begun with one").push(other),
            }
            at += next.len_utf8();
        }
        if text.is_empty() {
            return Err((0, Fault::MissingName("here")));
        }
        Ok(Self { texts, brackets })
    }

    /// The strings it stands for, the first bracket the slowest; `None` where there is no `budget`
    /// for them.
    fn names(&self, budget: &mut Budget) -> Option<Vec<String>> {
        let size = |ranges: &Vec<Range>| ranges.iter().map(Range::len).fold(0, u64::saturating_add);
        let count = self.brackets.iter().map(size).fold(1, u64::saturating_mul);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let texts: usize = self.texts.iter().map(String::len).sum();
        let digits = |ranges: &Vec<Range>| ranges.iter().map(Range::digits).max().unwrap_or(0);
        let longest = texts + self.brackets.iter().map(digits).sum::<usize>();
        if !budget.take(count, count.saturating_mul(longest)) {
            return None;
        }
        let mut names = vec![self.texts[0].clone()];
        for (ranges, after) in self.brackets.iter().zip(&self.texts[1..]) {
            let numbers: Vec<String> = ranges.iter().flat_map(Range::numbers).collect();
            names = names
                .iter()
                .flat_map(|name| {
                    numbers
                        .iter()
                        .map(move |number| format!("{name}{number}{after}"))
                })
                .collect();
        }
        Some(names)
    }
}

impl Range {
    fn len(&self) -> u64 {
        (self.last - self.first) / self.step + 1
    }

    /// How many its longest number has.
    fn digits(&self) -> usize {
        self.width
            .max(self.last.checked_ilog10().unwrap_or(0) as usize + 1)
    }

    fn numbers(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.len()).map(|index| {
            let number = self.first + index * self.step;
            format!("{number:0width$}", width = self.width)
        })
    }
}

/// The ranges between two brackets, `at` being the byte position of the first.
fn ranges(text: &str, mut at: usize) -> Result<Vec<Range>, (usize, Fault)> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        ranges.push(range(part).map_err(|fault| (at, fault))?);
        at += part.len() + 1;
    }
    Ok(ranges)
}

fn range(text: &str) -> Result<Range, Fault> {
    if text.is_empty() {
        return Err(Fault::MissingNumber);
    }
    let not_a_range = || Fault::NotARange(text.to_owned());
    let number = |digits: &str| match digits {
        _ if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => Err(not_a_range()),
        _ if digits.len() > DIGITS => Err(Fault::TooManyDigits(digits.to_owned())),
        _ => digits.parse::<u64>().map_err(|_| not_a_range()),
    };
    let padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let Some((from, rest)) = text.split_once('-') else {
        let value = number(text)?;
        let width = if padded(text) { text.len() } else { 0 };
        return Ok(Range {
            first: value,
            last: value,
            step: 1,
            width,
        });
    };
    let (to, step) = match rest.split_once('/') {
        Some((to, step)) => (to, number(step)?),
        None => (rest, 1),
    };
    let (first, last) = (number(from)?, number(to)?);
    let zeros = padded(from) || padded(to);
    if zeros && from.len() != to.len() {
        return Err(Fault::Padding(from.to_owned(), to.to_owned()));
    }
    if first > last {
        return Err(Fault::Backwards(from.to_owned(), to.to_owned()));
    }
    if step == 0 {
        return Err(Fault::ZeroStep);
    }
    let width = if zeros { from.len() } else { 0 };
    Ok(Range {
        first,
        last,
        step,
        width,
    })
}

/// A run of digits in a name. Ordered by length, then by digits: so `2` comes before `10`, and both
/// before `002`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Number {
    length: u8,
    value: u64,
}

impl Number {
    /// Of at most 18 digits.
    fn new(digits: &str) -> Self {
        Self {
            length: u8::try_from(digits.len()).expect("at most 18 digits"),
            value: digits.parse().expect("at most 18 digits"),
        }
    }

    /// The number that a range would have after this one, where the range began with `first`.
    fn after(self, first: Self) -> Option<Self> {
        let value = self.value + 1;
        let digits = u8::try_from(value.checked_ilog10()? + 1).ok()?;
        let length = match first.is_padded() {
            true => first.length,
            false => digits,
        };
        let fits = digits <= length && usize::from(length) <= DIGITS;
        fits.then_some(Self { length, value })
    }

    /// Whether it has leading zeros.
    fn is_padded(self) -> bool {
        u32::from(self.length) > self.value.checked_ilog10().unwrap_or(0) + 1
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:0width$}",
            self.value,
            width = usize::from(self.length)
        )
    }
}

/// A name as the texts around its numbers and the numbers: always one text more.
fn split(name: &str) -> (Vec<String>, Vec<Number>) {
    let (mut texts, mut numbers) = (vec![String::new()], Vec::new());
    let mut at = 0;
    while at < name.len() {
        let digits = name[at..].bytes().take_while(u8::is_ascii_digit).count();
        let letters = name[at..]
            .bytes()
            .take_while(|b| !b.is_ascii_digit())
            .count();
        if (1..=DIGITS).contains(&digits) {
            numbers.push(Number::new(&name[at..at + digits]));
            texts.push(String::new());
        } else {
            let text = &name[at..at + digits.max(letters)];
            texts.last_mut().expect("begun with one").push_str(text);
        }
        at += digits.max(letters);
    }
    (texts, numbers)
}

/// The values at each number's place that occur together in every combination.
type Block = Vec<BTreeSet<Number>>;

/// Covers points with disjoint blocks: joins those that differ in one place only, the last place
/// first, as long as there are any.
fn merge(points: BTreeSet<Vec<Number>>) -> Vec<Block> {
    let mut blocks = rows(points);
    loop {
        let before = blocks.len();
        let places = blocks.first().map_or(0, Vec::len);
        for place in (0..places).rev() {
            let mut joined: BTreeMap<Block, BTreeSet<Number>> = BTreeMap::new();
            for mut block in blocks {
                let here = std::mem::take(&mut block[place]);
                joined.entry(block).or_default().extend(here);
            }
            blocks = joined
                .into_iter()
                .map(|(mut block, here)| {
                    block[place] = here;
                    block
                })
                .collect();
        }
        if blocks.len() == before {
            return blocks;
        }
    }
}

/// Points that differ in the last place only, together: they stand beside one another. Of a
/// thousand racks there are many points, and a set for each place of each would be much memory.
fn rows(points: BTreeSet<Vec<Number>>) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut before: Option<Vec<Number>> = None;
    for mut point in points {
        let last = point.pop();
        match (blocks.last_mut().and_then(|block| block.last_mut()), last) {
            (Some(row), Some(last)) if before.as_ref() == Some(&point) => drop(row.insert(last)),
            _ => {
                let numbers = point.iter().copied().chain(last);
                blocks.push(numbers.map(|number| BTreeSet::from([number])).collect());
            }
        }
        before = Some(point);
    }
    blocks
}

fn write_block(texts: &[String], block: &Block) -> String {
    let mut written = texts[0].clone();
    for (numbers, after) in block.iter().zip(&texts[1..]) {
        written += &write_numbers(numbers.clone());
        written += after;
    }
    written
}

fn write_numbers(mut numbers: BTreeSet<Number>) -> String {
    if numbers.len() == 1 {
        return numbers.pop_first().expect("there is one").to_string();
    }
    let mut parts = Vec::new();
    while let Some(first) = numbers.pop_first() {
        let mut last = first;
        while let Some(next) = last.after(first).filter(|next| numbers.remove(next)) {
            last = next;
        }
        parts.push(match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
    }
    format!("[{}]", parts.join(","))
}

#[cfg(test)]
mod tests;
