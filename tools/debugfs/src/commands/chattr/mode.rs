//! The words of a `chattr` line.

use crate::output::shown;
use crate::words::number;
use anyhow::{Context, Result, bail};
use daxkit_format::dax::DaxMode;
use daxkit_format::ext4::inode_flags::InodeFlags;
use daxkit_volume::ext4::edit::{FlagChange, chattr_letter};

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) recursive: bool,
    pub(super) verbose: bool,
    pub(super) force: bool,
    pub(super) version: Option<u32>,
    pub(super) project: Option<u32>,
    /// Only what a mount in this mode would do.
    pub(super) as_kernel: Option<DaxMode>,
    /// First and last.
    pub(super) inodes: Vec<(u64, u64)>,
    pub(super) globs: Vec<String>,
    /// A file with a name on each line; `-` is standard input.
    pub(super) from: Option<Vec<u8>>,
    /// Names in it end with zero bytes.
    pub(super) zero: bool,
    pub(super) change: FlagChange,
    pub(super) files: Vec<Vec<u8>>,
}

impl Request {
    /// Whether flags are to change.
    pub(super) fn has_change(&self) -> bool {
        self.change != FlagChange::default()
    }

    pub(super) fn parse(words: &[Vec<u8>], usage: &str) -> Result<Self> {
        let mut request = Self::default();
        let mut words = words.iter();
        let mut modes_end = false;
        while let Some(word) = words.next() {
            let mut value = |what: &str| words.next().with_context(|| format!("{what} wants a value; {usage}"));
            let whole = String::from_utf8_lossy(word).into_owned();
            match whole.split_once('=').map_or((whole.as_str(), None), |(name, value)| (name, Some(value))) {
                _ if modes_end => request.files.push(word.clone()),
                ("--", None) => modes_end = true,
                ("-v", None) => request.version = Some(small(value("-v")?, "a version")?),
                ("-p", None) => request.project = Some(small(value("-p")?, "a project number")?),
                ("-0", None) => request.zero = true,
                ("--as-kernel", mode) => {
                    let mode = mode.map_or(Some(DaxMode::Inode), |m| DaxMode::from_option(&format!("dax={m}")));
                    request.as_kernel = Some(mode.with_context(|| format!("{whole}: always, inode or never"))?);
                }
                ("--inodes", Some(range)) => request.inodes.push(span(range.as_bytes())?),
                ("--inodes", None) => request.inodes.push(span(value("--inodes")?)?),
                ("--glob", Some(glob)) => request.globs.push(glob.to_owned()),
                ("--glob", None) => request.globs.push(shown(value("--glob")?)),
                ("--from", Some(file)) => request.from = Some(file.as_bytes().to_vec()),
                ("--from", None) => request.from = Some(value("--from")?.clone()),
                (long, _) if long.starts_with("--") => bail!("no option {long}; {usage}"),
                _ if whole.len() > 1 && whole.starts_with('-') && whole[1..].chars().all(|c| "RVf".contains(c)) => {
                    request.recursive |= whole.contains('R');
                    request.verbose |= whole.contains('V');
                    request.force |= whole.contains('f');
                }
                _ if whole.starts_with(['+', '-', '=']) && request.files.is_empty() => request.mode(&whole)?,
                _ => request.files.push(word.clone()),
            }
        }
        let nothing = !request.has_change() && request.version.is_none() && request.project.is_none();
        let nobody =
            request.files.is_empty() && request.inodes.is_empty() && request.globs.is_empty() && request.from.is_none();
        if nothing || nobody {
            bail!("{usage}");
        }
        if request.change.only.is_some() && !(request.change.add | request.change.remove).is_empty() {
            bail!("= is incompatible with - and +");
        }
        if request.change.add.intersects(request.change.remove) {
            bail!("can't both set and unset the same flag");
        }
        Ok(request)
    }

    /// `+x-d`, `=A`.
    fn mode(&mut self, word: &str) -> Result<()> {
        let mut sign = '+';
        for letter in word.chars() {
            if matches!(letter, '+' | '-' | '=') {
                sign = letter;
                if sign == '=' {
                    self.change.only.get_or_insert_default();
                }
                continue;
            }
            let flag = chattr_letter(letter).with_context(|| match letter {
                'E' | 'I' | 'N' | 'V' => format!(
                    "{word}: {letter:?} is shown by lsattr(1) only: what the data are is not changed (set_inode_field sets the bit alone)"
                ),
                _ => format!("{word}: {letter:?} is no letter of chattr(1)"),
            })?;
            let into: &mut InodeFlags = match sign {
                '+' => &mut self.change.add,
                '-' => &mut self.change.remove,
                _ => self.change.only.get_or_insert_default(),
            };
            *into |= flag;
        }
        Ok(())
    }
}

fn small(word: &[u8], what: &str) -> Result<u32> {
    u32::try_from(number(word, what)?).with_context(|| format!("{}: not {what}", shown(word)))
}

/// `FIRST-LAST`, or one number.
fn span(word: &[u8]) -> Result<(u64, u64)> {
    let mut ends = word.splitn(2, |b| *b == b'-');
    let first = number(ends.next().unwrap_or_default(), "an inode number")?;
    let last = ends.next().map_or(Ok(first), |last| number(last, "an inode number"))?;
    if first == 0 || last < first {
        bail!("{}: not a range of inodes", shown(word));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request> {
        let words: Vec<Vec<u8>> = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        Request::parse(&words, "usage")
    }

    #[test]
    fn words_are_those_of_chattr() {
        let request = parse("-RV +x-d /a -b").unwrap();
        assert!(request.recursive && request.verbose && !request.force);
        assert_eq!((request.change.add, request.change.remove), (InodeFlags::DAX, InodeFlags::NODUMP));
        assert_eq!(request.files, [b"/a".to_vec(), b"-b".to_vec()]);
        let request = parse("-v 7 -p 0x10 -A --inodes 12-14 --inodes=3 --as-kernel=never").unwrap();
        assert_eq!((request.version, request.project), (Some(7), Some(16)));
        assert_eq!((request.inodes, request.as_kernel), (vec![(12, 14), (3, 3)], Some(DaxMode::Never)));
        assert_eq!(request.change.remove, InodeFlags::NOATIME);
        assert_eq!(parse("= /a").unwrap().change.only, Some(InodeFlags::empty()));
        for bad in
            ["/a", "+x", "+q /a", "=x +d /a", "+x-x /a", "--nope +x /a", "+x --inodes 0-3", "-v", "+x --inodes 9-3"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for (letter, why) in [('N', "shown by lsattr(1) only"), ('q', "no letter")] {
            let error = parse(&format!("+{letter} /a")).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
