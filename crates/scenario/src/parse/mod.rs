//! From text to the tree.

mod cursor;
mod declaration;
mod expectation;
mod statement;

pub(crate) use cursor::Cursor;

use crate::ast::{Concurrent, Declarations, File, Scenario, Statement, Turn};
use crate::error::{Collector, Error, Errors};
use crate::place::Place;
use crate::token::tokens;

/// Longest text that is read.
pub const MOST_BYTES: usize = 4 << 20;

/// Deepest nesting of blocks.
const DEEPEST: usize = 8;

/// What a word at the beginning of a line opens or declares; no operation is called so.
pub const KEYWORDS: &[&str] = &[
    "scenario",
    "needs",
    "fs",
    "task",
    "setup",
    "concurrent",
    "repeat",
    "end",
    "on",
    "never",
    "always",
    "sometimes",
    "schedule",
    "print",
];

/// An open block.
enum Block {
    Setup(Vec<Statement>),
    Repeat(u64, Vec<Statement>),
    Concurrent(Concurrent),
}

impl Block {
    const fn body(&mut self) -> &mut Vec<Statement> {
        match self {
            Self::Setup(body) | Self::Repeat(_, body) | Self::Concurrent(Concurrent { body, .. }) => body,
        }
    }

    fn close(self) -> Statement {
        match self {
            Self::Setup(body) => Statement::Setup(body),
            Self::Repeat(times, body) => Statement::Repeat(times, body),
            Self::Concurrent(block) => Statement::Concurrent(block),
        }
    }
}

/// Reads a text. It is not yet checked: names may be unknown.
///
/// # Errors
/// What cannot be read, line by line.
pub fn parse(text: &str) -> Result<File, Errors> {
    if text.len() > MOST_BYTES {
        let error = Error::new(Place { line: 1, column: 1, width: 1 }, "the text has more than 4 MiB");
        return Err(Errors { list: vec![error], more: false });
    }
    let mut errors = Collector::default();
    let mut parser = Parser::default();
    let mut last = 1;
    for (number, line) in (1u32..).zip(text.lines()) {
        last = number;
        let read = tokens(line, number).and_then(|tokens| {
            let mut cursor = Cursor::new(&tokens, number);
            if cursor.is_done() { Ok(()) } else { parser.line(&mut cursor).and_then(|()| cursor.done()) }
        });
        if let Err(error) = read {
            errors.push(error);
        }
    }
    if let Some((place, _)) = parser.blocks.last() {
        errors.push(Error::new(*place, "this block has no `end`"));
    }
    if parser.file.scenarios.is_empty() && errors.is_empty() {
        errors.push(Error::new(Place { line: last, column: 1, width: 1 }, "there is no `scenario \"title\"`"));
    }
    errors.finish(text)?;
    Ok(parser.file)
}

/// Reads bytes that should be a text.
///
/// # Errors
/// As [`parse`], and bytes that are not UTF-8.
pub fn parse_bytes(bytes: &[u8]) -> Result<File, Errors> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let good = String::from_utf8_lossy(bytes.get(..error.valid_up_to()).unwrap_or_default()).into_owned();
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let place = Place { line: number(line), column: number(column), width: 1 };
            let error = Error::new(place, "the text is not UTF-8").show_line_of(&good);
            Err(Errors { list: vec![error], more: false })
        }
    }
}

#[derive(Default)]
struct Parser {
    file: File,
    /// Open blocks, outermost first, and where they began.
    blocks: Vec<(Place, Block)>,
}

impl Parser {
    fn declarations(&mut self) -> &mut Declarations {
        match self.file.scenarios.last_mut() {
            Some(scenario) => &mut scenario.declarations,
            None => &mut self.file.shared,
        }
    }

    /// Where the next statement goes; `None` before the first scenario.
    fn body(&mut self) -> Option<&mut Vec<Statement>> {
        match self.blocks.last_mut() {
            Some((_, block)) => Some(block.body()),
            None => self.file.scenarios.last_mut().map(|scenario| &mut scenario.body),
        }
    }

    fn push(&mut self, place: Place, statement: Statement) -> Result<(), Error> {
        let body = self.body().ok_or_else(|| Error::new(place, "this stands before the first `scenario`"))?;
        body.push(statement);
        Ok(())
    }

    fn open(&mut self, place: Place, block: Block) -> Result<(), Error> {
        if self.file.scenarios.is_empty() {
            return Err(Error::new(place, "this stands before the first `scenario`"));
        }
        if self.blocks.len() >= DEEPEST {
            return Err(Error::new(place, "blocks are nested too deep"));
        }
        self.blocks.push((place, block));
        Ok(())
    }

    fn line(&mut self, c: &mut Cursor<'_>) -> Result<(), Error> {
        let place = c.place();
        let keyword = if c.at_prefix() { None } else { c.peek_bare() };
        let declares = matches!(keyword, Some("scenario" | "needs" | "fs" | "task"));
        if declares && let Some((opened, _)) = self.blocks.last() {
            let what = format!("this cannot stand in a block; the one of line {} has no `end` yet", opened.line);
            return Err(Error::new(place, what));
        }
        match keyword {
            Some("scenario") => {
                c.take_bare("scenario");
                let title = c.text()?;
                let (declarations, body) = (Declarations::default(), Vec::new());
                self.file.scenarios.push(Scenario { title, place, declarations, body });
            }
            Some("needs") => {
                c.take_bare("needs");
                while !c.is_done() {
                    let need = c.word()?;
                    self.declarations().needs.insert(need);
                }
            }
            Some("fs") => {
                let fs = declaration::filesystem(c)?;
                self.declarations().filesystems.push(fs);
            }
            Some("task") => {
                let task = declaration::task(c)?;
                self.declarations().tasks.push(task);
            }
            Some("setup") => {
                c.take_bare("setup");
                self.open(place, Block::Setup(Vec::new()))?;
            }
            Some("concurrent") => {
                c.take_bare("concurrent");
                self.open(place, Block::Concurrent(Concurrent { place, body: Vec::new(), schedule: Vec::new() }))?;
            }
            Some("repeat") => {
                c.take_bare("repeat");
                let times = c.number()?;
                self.open(place, Block::Repeat(times, Vec::new()))?;
            }
            Some("end") => {
                c.take_bare("end");
                let (opened, block) = self.blocks.pop().ok_or_else(|| Error::new(place, "there is no block to end"))?;
                self.push(opened, block.close())?;
            }
            Some("schedule") => {
                c.take_bare("schedule");
                let mut turns = statement::turns(c)?;
                let Some((_, Block::Concurrent(block))) = self.blocks.last_mut() else {
                    return Err(Error::new(place, "a schedule stands in a `concurrent` block"));
                };
                block.schedule.append(&mut turns);
            }
            _ => return self.statement(c, place),
        }
        Ok(())
    }

    /// An operation or a claim, perhaps behind `on ...:`; or what is expected elsewhere of the operation before.
    fn statement(&mut self, c: &mut Cursor<'_>, place: Place) -> Result<(), Error> {
        let mut on = None;
        if !c.at_prefix() && c.take_bare("on") {
            on = Some(expectation::condition(c)?);
            if expectation::at_expectation(c) {
                let expected = expectation::expectation(c)?;
                let Some(Statement::Step(step)) = self.body().and_then(|body| body.last_mut()) else {
                    return Err(Error::new(place, "there is no operation before that this could be expected of"));
                };
                step.expect_on.extend(on.map(|on| (on, expected)));
                return Ok(());
            }
        }
        let claims = matches!(c.peek_bare(), Some("never" | "always" | "sometimes")) && !c.at_prefix();
        let statement = if claims {
            Statement::Claim(statement::claim(c, on)?)
        } else {
            Statement::Step(statement::step(c, place, on)?)
        };
        self.push(place, statement)
    }
}

/// A schedule as a command line gives it: `A B*2 A@point`.
///
/// # Errors
/// When it is none.
pub fn parse_schedule(text: &str) -> Result<Vec<Turn>, Errors> {
    tokens(text, 1)
        .and_then(|tokens| statement::turns(&mut Cursor::new(&tokens, 1)))
        .map_err(|error| Errors { list: vec![error.show_line_of(text)], more: false })
}
