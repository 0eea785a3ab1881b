//! Reading the tokens of one line.

use crate::ast::MountOptions;
use crate::data::{Data, Fill, Piece};
use crate::error::Error;
use crate::letters::{Change, Flags, Letter};
use crate::ops::args::Path;
use crate::place::{Name, Place};
use crate::token::{Kind, Token};
use crate::word::{Set, Word};
use daxkit_format::field::did_you_mean;

/// A position among the tokens of a line.
pub(crate) struct Cursor<'t> {
    tokens: &'t [Token],
    at: usize,
    /// Where the line ends.
    end: Place,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(tokens: &'t [Token], line: u32) -> Self {
        let last = tokens.last().map_or(Place { line, column: 1, width: 0 }, |token| token.place);
        let end = Place { line, column: last.column.saturating_add(last.width), width: 1 };
        Self { tokens, at: 0, end }
    }

    pub(super) fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    fn peek_at(&self, ahead: usize) -> Option<&'t Token> {
        self.tokens.get(self.at + ahead)
    }

    pub(super) fn place(&self) -> Place {
        self.peek().map_or(self.end, |token| token.place)
    }

    pub(super) const fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn wanted(&self, what: &str) -> Error {
        let found = match self.peek().map(|token| &token.kind) {
            None => "the line ends".to_owned(),
            Some(Kind::Bare(word)) => format!("`{word}` stands there"),
            Some(Kind::Quoted(_)) => "a quoted text stands there".to_owned(),
            Some(Kind::Sign(sign)) => format!("`{sign}` stands there"),
        };
        Error::new(self.place(), format!("{what} is wanted, but {found}"))
    }

    pub(super) fn done(&self) -> Result<(), Error> {
        if self.is_done() { Ok(()) } else { Err(self.wanted("the end of the line")) }
    }

    pub(super) fn at_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token { kind: Kind::Sign(s), .. }) if *s == sign)
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let there = self.at_sign(sign);
        self.at += usize::from(there);
        there
    }

    pub(super) fn sign(&mut self, sign: &str) -> Result<(), Error> {
        if self.take_sign(sign) { Ok(()) } else { Err(self.wanted(&format!("`{sign}`"))) }
    }

    /// The bare word that comes next, not taken.
    pub(super) fn peek_bare(&self) -> Option<&'t str> {
        match self.peek() {
            Some(Token { kind: Kind::Bare(word), .. }) => Some(word),
            _ => None,
        }
    }

    /// Whether a word and a colon come next: who does the operation.
    pub(super) fn at_prefix(&self) -> bool {
        self.peek_bare().is_some() && matches!(self.peek_at(1), Some(Token { kind: Kind::Sign(":"), .. }))
    }

    pub(super) fn take_bare(&mut self, word: &str) -> bool {
        let there = self.peek_bare() == Some(word);
        self.at += usize::from(there);
        there
    }

    pub(crate) fn bare(&mut self, what: &str) -> Result<(&'t str, Place), Error> {
        match self.peek() {
            Some(Token { kind: Kind::Bare(word), place, .. }) => {
                self.at += 1;
                Ok((word, *place))
            }
            _ => Err(self.wanted(what)),
        }
    }

    pub(crate) fn name(&mut self, what: &str) -> Result<Name, Error> {
        let (text, place) = self.bare(&format!("a {what}"))?;
        if Name::is_name(text) {
            return Ok(Name { text: text.into(), place });
        }
        Err(Error::new(place, format!("`{text}` is no name of a {what}: letters, digits and `_`, not a digit first")))
    }

    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        let (text, place) = self.bare("a number")?;
        number(text).ok_or_else(|| Error::new(place, format!("`{text}` is no number (digits or 0x, and K, M, G or T)")))
    }

    /// `key=`: a key that belongs to an operation or declaration.
    pub(crate) fn key(&mut self) -> Result<Option<Name>, Error> {
        let (Some(word), Some(Token { kind: Kind::Sign("="), apart: false, .. })) = (self.peek_bare(), self.peek_at(1))
        else {
            return Ok(None);
        };
        let name = Name { text: word.into(), place: self.place() };
        self.at += 2;
        Ok(Some(name))
    }

    pub(crate) fn bad_key(&self, key: &Name, known: &[&str]) -> Error {
        let why = if known.contains(&&*key.text) {
            format!("`{key}=` is given twice")
        } else {
            format!("there is no `{key}=` here{}", did_you_mean(&key.text, known.iter().copied()))
        };
        Error::new(key.place, why)
    }

    /// Whether a path comes next.
    pub(crate) fn at_path(&self) -> bool {
        match self.peek().map(|token| &token.kind) {
            Some(Kind::Bare(word)) => word.contains('/'),
            Some(Kind::Quoted(_)) => true,
            _ => false,
        }
    }

    pub(crate) fn path(&mut self) -> Result<Path, Error> {
        let place = self.place();
        let text = match self.peek().map(|token| &token.kind) {
            Some(Kind::Bare(_) | Kind::Quoted(_)) => self.text()?,
            _ => return Err(self.wanted("a path")),
        };
        let (fs, path) = match text.split_once(":/") {
            Some((fs, _)) if Name::is_name(fs) => {
                (Some(Name { text: fs.into(), place }), text.get(fs.len() + 1..).unwrap_or(""))
            }
            _ => (None, &*text),
        };
        let good = path.starts_with('/') && path.len() <= 4096 && !path.contains('\0');
        let path = path.to_owned();
        if good { Ok(Path { fs, path }) } else { Err(Error::new(place, format!("{text:?} is no absolute path"))) }
    }

    pub(crate) fn text(&mut self) -> Result<String, Error> {
        let place = self.place();
        match self.peek().map(|token| &token.kind) {
            Some(Kind::Bare(word)) => {
                self.at += 1;
                Ok(word.clone())
            }
            Some(Kind::Quoted(bytes)) => {
                self.at += 1;
                String::from_utf8(bytes.clone()).map_err(|_| Error::new(place, "this text is not UTF-8"))
            }
            _ => Err(self.wanted("a text")),
        }
    }

    pub(crate) fn address(&mut self) -> Result<(Name, u64), Error> {
        let (text, place) = self.bare("a place in a mapping")?;
        let (name, offset) = text.split_once('+').unwrap_or((text, "0"));
        match number(offset) {
            Some(offset) if Name::is_name(name) => Ok((Name { text: name.into(), place }, offset)),
            _ => Err(Error::new(place, format!("`{text}` is no place in a mapping: `m` or `m+4K` is one"))),
        }
    }

    pub(crate) fn word<W: Word>(&mut self) -> Result<W, Error> {
        let known = || W::ALL.iter().map(|word| word.word());
        let (text, place) = match self.peek() {
            Some(Token { kind: Kind::Bare(text), place, .. }) => (&**text, *place),
            Some(Token { kind: Kind::Sign(sign), place, .. }) => (*sign, *place),
            _ => return Err(self.wanted(W::USAGE)),
        };
        let word = W::from_word(text).ok_or_else(|| {
            let near = did_you_mean(text, known());
            let list = if near.is_empty() { format!(": {}", known().collect::<Vec<_>>().join(" ")) } else { near };
            Error::new(place, format!("`{text}` is no {}{list}", W::USAGE))
        })?;
        self.at += 1;
        Ok(word)
    }

    /// Words with `|` between them; none when no bare word comes next.
    pub(crate) fn words_or_none<W: Word>(&mut self) -> Result<Set<W>, Error> {
        let mut set = Set::EMPTY;
        let ends = matches!(self.peek_bare(), None | Some("has" | "lacks" | "blocks" | "?"));
        let is_key = matches!(self.peek_at(1), Some(Token { kind: Kind::Sign("="), apart: false, .. }));
        if ends || is_key {
            return Ok(set);
        }
        loop {
            let place = self.place();
            let word: W = self.word()?;
            if !set.insert(word) {
                return Err(Error::new(place, format!("`{}` is given twice", word.word())));
            }
            if !self.take_sign("|") {
                return Ok(set);
            }
        }
    }

    fn letters<L: Letter>(&self, text: &str, place: Place) -> Result<Set<L>, Error> {
        let mut set = Set::EMPTY;
        for c in text.chars() {
            let letter = L::from_word(c.encode_utf8(&mut [0; 4]));
            set.insert(letter.ok_or_else(|| Error::new(place, format!("there is no flag with the letter `{c}`")))?);
        }
        Ok(set)
    }

    pub(crate) fn flags<L: Letter>(&mut self) -> Result<Flags<L>, Error> {
        let (text, place) = self.bare("letters of flags, or their number")?;
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let bits = number(text).and_then(|bits| u32::try_from(bits).ok());
            return bits.map(Flags::Raw).ok_or_else(|| Error::new(place, format!("`{text}` has not 32 bits")));
        }
        let text = if text == "-" { "" } else { text };
        self.letters(text, place).map(Flags::Letters)
    }

    pub(crate) fn change<L: Letter>(&mut self) -> Result<Change<L>, Error> {
        let (text, place) = self.bare("a change of flags")?;
        if !text.starts_with(['+', '-']) || text.len() < 2 {
            return Err(Error::new(place, format!("`{text}` is no change of flags: `+x` or `-x` is one")));
        }
        let mut change = Change { add: Set::EMPTY, remove: Set::EMPTY };
        let mut adds = true;
        for c in text.chars() {
            match c {
                '+' => adds = true,
                '-' => adds = false,
                c => {
                    let letter = self.letters(c.encode_utf8(&mut [0; 4]), place)?;
                    let (to, from) = if adds {
                        (&mut change.add, &mut change.remove)
                    } else {
                        (&mut change.remove, &mut change.add)
                    };
                    *to = to.union(letter);
                    *from = from.without(letter);
                }
            }
        }
        Ok(change)
    }

    /// Mount options with commas between them.
    pub(crate) fn mount_options(&mut self) -> Result<MountOptions, Error> {
        if self.take_bare("defaults") {
            return Ok(MountOptions::default());
        }
        let mut options = Vec::new();
        loop {
            let mut option = self.bare("a mount option, or `defaults`")?.0.to_owned();
            if matches!(self.peek(), Some(Token { kind: Kind::Sign("="), apart: false, .. })) {
                self.at += 1;
                option.push('=');
                option.push_str(self.bare("the option's value")?.0);
            }
            options.push(option);
            if !self.take_sign(",") {
                return Ok(MountOptions(options));
            }
        }
    }

    /// Whether data comes next, rather than a number or a word.
    pub(super) fn at_data(&self) -> bool {
        let times = matches!(self.peek_at(1), Some(Token { kind: Kind::Sign("*"), .. }));
        matches!(self.peek(), Some(Token { kind: Kind::Quoted(_), .. })) || self.peek_bare().is_some() && times
    }

    pub(crate) fn data(&mut self) -> Result<Data, Error> {
        let start = self.place();
        let mut pieces = Vec::new();
        let mut total = 0u64;
        loop {
            let piece = self.piece()?;
            total = piece.len().map_or(u64::MAX, |len| total.saturating_add(len));
            if total > crate::data::MOST {
                return Err(Error::new(start, "this is more than 1 GiB of data"));
            }
            if !piece.is_empty() {
                pieces.push(piece);
            }
            if !self.take_sign(",") {
                return Ok(Data { pieces });
            }
        }
    }

    fn piece(&mut self) -> Result<Piece, Error> {
        let place = self.place();
        let what = match self.peek().map(|token| &token.kind) {
            Some(Kind::Quoted(bytes)) => {
                self.at += 1;
                Fill::Text(bytes.clone())
            }
            Some(Kind::Bare(word)) => {
                self.at += 1;
                let fill = match word.strip_prefix("random:") {
                    Some(seed) => number(seed).map(Fill::Random),
                    None if word == "zero" => Some(Fill::Byte(0)),
                    None => number(word).and_then(|byte| u8::try_from(byte).ok()).map(Fill::Byte),
                };
                fill.ok_or_else(|| {
                    let forms = "0x41*4096, \"text\", zero*512, random:7*2M";
                    Error::new(place, format!("`{word}` is no data; these are: {forms}"))
                })?
            }
            _ => return Err(self.wanted("data")),
        };
        let times = if self.take_sign("*") {
            self.number()?
        } else if matches!(what, Fill::Text(_)) {
            1
        } else {
            return Err(self.wanted("`*` and how many"));
        };
        Ok(Piece { what, times })
    }
}

/// A number: decimal or `0x`, and K, M, G, T for powers of 1024.
fn number(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().filter(|_| !hex.starts_with('+'));
    }
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (text.len() - 1, 10),
        b'M' => (text.len() - 1, 20),
        b'G' => (text.len() - 1, 30),
        b'T' => (text.len() - 1, 40),
        _ => (text.len(), 0),
    };
    let digits = text.get(..digits).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
