//! How each type of argument is read and written.

use super::args::{
    Address, Fd, Fs, Key, Map, Mode, NameKind, NameUse, NewFd, NewMap, NewPin, NewTask, Path, Pin, Target, Task, Text,
};
use crate::ast::MountOptions;
use crate::data::Data;
use crate::error::Error;
use crate::letters::{Change, Flags, Letter};
use crate::parse::Cursor;
use crate::place::Name;
use crate::print;
use crate::word::{Set, Word};
use core::fmt::Write as _;

/// Who is shown the names of an operation.
pub(crate) type NameVisitor<'v, 'f> = &'v mut (dyn FnMut(NameKind, NameUse, &Name) + 'f);

/// A type of argument.
pub(crate) trait Arg: Sized {
    /// What usage lines call it.
    const USAGE: &'static str;

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error>;

    /// As it is written; nothing when an argument that may be left out is.
    fn print(&self, out: &mut String);

    fn names(&self, _: NameVisitor<'_, '_>) {}

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self;
}

/// Writes a blank and an argument, or nothing.
pub(super) fn print_positional(arg: &impl Arg, out: &mut String) {
    let before = out.len();
    out.push(' ');
    arg.print(out);
    if out.len() == before + 1 {
        out.truncate(before);
    }
}

impl Arg for u64 {
    const USAGE: &'static str = "NUMBER";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.number()
    }

    fn print(&self, out: &mut String) {
        out.push_str(&print::size(*self));
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        g.size()
    }
}

macro_rules! name_args {
    ($($type:ident),+) => { $(
        impl Arg for $type {
            const USAGE: &'static str = $type::USAGE;

            fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
                Ok(Self(c.name(Self::KIND.text())?))
            }

            fn print(&self, out: &mut String) {
                out.push_str(&self.0.text);
            }

            fn names(&self, visit: NameVisitor<'_, '_>) {
                visit(Self::KIND, Self::USE, &self.0);
            }

            #[cfg(test)]
            fn any(g: &mut crate::any::Gen) -> Self {
                Self(g.name())
            }
        }
    )+ };
}

name_args!(NewFd, Fd, NewMap, Map, NewPin, Pin, NewTask, Task, Fs);

impl Arg for Path {
    const USAGE: &'static str = "PATH";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.path()
    }

    fn print(&self, out: &mut String) {
        let text = self.fs.as_ref().map_or_else(|| self.path.clone(), |fs| format!("{fs}:{}", self.path));
        out.push_str(&print::bare_or_quoted(&text));
    }

    fn names(&self, visit: NameVisitor<'_, '_>) {
        if let Some(fs) = &self.fs {
            visit(NameKind::Fs, NameUse::Uses, fs);
        }
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        g.path()
    }
}

impl Arg for Target {
    const USAGE: &'static str = "FILE";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        if c.at_path() { Path::parse(c).map(Self::Path) } else { Ok(Self::Fd(Fd(c.name("descriptor or path")?))) }
    }

    fn print(&self, out: &mut String) {
        match self {
            Self::Path(path) => path.print(out),
            Self::Fd(fd) => fd.print(out),
        }
    }

    fn names(&self, visit: NameVisitor<'_, '_>) {
        match self {
            Self::Path(path) => path.names(visit),
            Self::Fd(fd) => fd.names(visit),
        }
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        if g.coin() { Self::Path(g.path()) } else { Self::Fd(Fd(g.name())) }
    }
}

impl Arg for Address {
    const USAGE: &'static str = "ADDRESS";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        let (name, offset) = c.address()?;
        Ok(Self { map: Map(name), offset })
    }

    fn print(&self, out: &mut String) {
        self.map.print(out);
        if self.offset != 0 {
            out.push('+');
            self.offset.print(out);
        }
    }

    fn names(&self, visit: NameVisitor<'_, '_>) {
        self.map.names(visit);
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        Self { map: Map(g.name()), offset: g.size() }
    }
}

impl Arg for Mode {
    const USAGE: &'static str = "MODE";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        let (text, place) = c.bare("a mode in octal")?;
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && !text.starts_with('+'));
        mode.map(Self).ok_or_else(|| Error::new(place, format!("`{text}` is no mode in octal")))
    }

    fn print(&self, out: &mut String) {
        write!(out, "{:04o}", self.0).expect("a string takes all");
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        Self(u32::try_from(g.below(0o10000)).expect("small"))
    }
}

impl Arg for Text {
    const USAGE: &'static str = "TEXT";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.text().map(Self)
    }

    fn print(&self, out: &mut String) {
        out.push_str(&print::bare_or_quoted(&self.0));
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        Self(g.text())
    }
}

impl Arg for Key {
    const USAGE: &'static str = "KEY";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        Ok(Self(c.bare("a name")?.0.to_owned()))
    }

    fn print(&self, out: &mut String) {
        out.push_str(&self.0);
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        Self(format!("{}.{}", g.name(), g.name()))
    }
}

impl Arg for Data {
    const USAGE: &'static str = "DATA";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.data()
    }

    fn print(&self, out: &mut String) {
        out.push_str(&print::data(self));
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        g.data()
    }
}

impl Arg for MountOptions {
    const USAGE: &'static str = "OPTIONS";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.mount_options()
    }

    fn print(&self, out: &mut String) {
        write!(out, "{self}").expect("a string takes all");
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        g.mount_options()
    }
}

impl<W: Word> Arg for Set<W> {
    const USAGE: &'static str = W::USAGE;

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.words_or_none()
    }

    fn print(&self, out: &mut String) {
        let words: Vec<_> = self.iter().map(Word::word).collect();
        out.push_str(&words.join("|"));
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        g.set()
    }
}

impl<L: Letter> Arg for Flags<L> {
    const USAGE: &'static str = L::USAGE;

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.flags()
    }

    fn print(&self, out: &mut String) {
        match self {
            Self::Letters(letters) if letters.is_empty() => out.push('-'),
            Self::Letters(letters) => letters.iter().for_each(|letter| out.push_str(letter.word())),
            Self::Raw(bits) => write!(out, "{bits:#x}").expect("a string takes all"),
        }
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        if g.coin() { Self::Letters(g.set()) } else { Self::Raw(g.next() as u32) }
    }
}

impl<L: Letter> Arg for Change<L> {
    const USAGE: &'static str = "CHANGE";

    fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
        c.change()
    }

    fn print(&self, out: &mut String) {
        for (sign, set) in [('+', self.add), ('-', self.remove)] {
            if !set.is_empty() {
                out.push(sign);
                set.iter().for_each(|letter| out.push_str(letter.word()));
            }
        }
    }

    #[cfg(test)]
    fn any(g: &mut crate::any::Gen) -> Self {
        let mut add: Set<L> = g.set();
        if add.is_empty() {
            add.insert(L::ALL[0]);
        }
        Self { add, remove: g.set().without(add) }
    }
}

macro_rules! word_args {
    ($($type:ident),+) => { $(
        impl Arg for crate::words::$type {
            const USAGE: &'static str = <Self as Word>::USAGE;

            fn parse(c: &mut Cursor<'_>) -> Result<Self, Error> {
                c.word()
            }

            fn print(&self, out: &mut String) {
                out.push_str(self.word());
            }

            #[cfg(test)]
            fn any(g: &mut crate::any::Gen) -> Self {
                g.word()
            }
        }
    )+ };
}

word_args!(CounterName, NodeKind, Whence, FileAdvice, Prot, MapAdvice, Width, Shutdown);
