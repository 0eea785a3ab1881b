//! `fs` and `task`.

use super::Cursor;
use crate::ast::{Feature, FsDecl, Release, Source, TaskDecl};
use crate::error::Error;
use crate::word::Set;

const FS_KEYS: &[&str] = &["mem", "image", "profile", "block", "features", "options", "device", "realtime"];
const TASK_KEYS: &[&str] = &["uid", "gid", "caps", "thread_of"];

/// Things with `|` between them.
fn alternatives<T>(
    c: &mut Cursor<'_>,
    mut one: impl FnMut(&mut Cursor<'_>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let mut all = vec![one(c)?];
    while c.take_sign("|") {
        all.push(one(c)?);
    }
    Ok(all)
}

pub(super) fn filesystem(c: &mut Cursor<'_>) -> Result<FsDecl, Error> {
    c.take_bare("fs");
    let name = c.name("file system")?;
    let rules = alternatives(c, |c| c.word())?;
    let mut source = None;
    let mut fs = FsDecl {
        name,
        rules,
        profiles: Vec::new(),
        source: Source::Given,
        block: None,
        features: Vec::new(),
        options: Vec::new(),
        device: None,
        realtime: None,
        unmounted: false,
    };
    loop {
        let place = c.place();
        let Some(key) = c.key()? else {
            if !fs.unmounted && c.take_bare("unmounted") {
                fs.unmounted = true;
                continue;
            }
            if source.is_none() && c.take_bare("given") {
                source = Some(Source::Given);
                continue;
            }
            break;
        };
        match &*key.text {
            "mem" if source.is_none() => source = Some(Source::Mem(c.number()?)),
            "image" if source.is_none() => source = Some(Source::Image(c.text()?)),
            "mem" | "image" => return Err(Error::new(place, "it has one source: `mem=`, `image=` or `given`")),
            "profile" if fs.profiles.is_empty() => fs.profiles = alternatives(c, release)?,
            "block" if fs.block.is_none() => fs.block = Some(c.number()?),
            "features" if fs.features.is_empty() => fs.features = features(c)?,
            "options" if fs.options.is_empty() => fs.options = alternatives(c, |c| c.mount_options())?,
            "device" if fs.device.is_none() => fs.device = Some(c.word()?),
            "realtime" if fs.realtime.is_none() => fs.realtime = Some(c.word()?),
            _ => return Err(c.bad_key(&key, FS_KEYS)),
        }
    }
    fs.source = source.ok_or_else(|| c.wanted("a source, `mem=SIZE`, `image=PATH` or `given`,"))?;
    Ok(fs)
}

/// A release, `6.12`.
pub(super) fn release(c: &mut Cursor<'_>) -> Result<Release, Error> {
    let (text, place) = c.bare("a release, as 6.12,")?;
    release_of(text).ok_or_else(|| Error::new(place, format!("`{text}` is no release, as 6.12 is one")))
}

pub(super) fn release_of(text: &str) -> Option<Release> {
    let (major, minor) = text.split_once('.')?;
    let part = |part: &str| part.parse().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit()));
    Some(Release(part(major)?, part(minor)?))
}

fn features(c: &mut Cursor<'_>) -> Result<Vec<Feature>, Error> {
    let mut features = Vec::new();
    loop {
        let (text, place) = c.bare("a feature")?;
        let (off, name) = text.strip_prefix('^').map_or((false, text), |name| (true, name));
        if !crate::place::Name::is_name(name) {
            return Err(Error::new(place, format!("`{text}` is no feature")));
        }
        features.push(Feature { off, name: name.to_owned() });
        if !c.take_sign(",") {
            return Ok(features);
        }
    }
}

pub(super) fn task(c: &mut Cursor<'_>) -> Result<TaskDecl, Error> {
    c.take_bare("task");
    let name = c.name("task")?;
    let mut task = TaskDecl { name, uid: None, gid: None, caps: None, thread_of: None, userns: false };
    loop {
        let Some(key) = c.key()? else {
            if task.userns || !c.take_bare("userns") {
                return Ok(task);
            }
            task.userns = true;
            continue;
        };
        match &*key.text {
            "uid" if task.uid.is_none() => task.uid = Some(id(c)?),
            "gid" if task.gid.is_none() => task.gid = Some(id(c)?),
            "caps" if task.caps.is_none() => {
                task.caps = Some(if c.take_bare("none") { Set::EMPTY } else { c.words_or_none()? });
            }
            "thread_of" if task.thread_of.is_none() => task.thread_of = Some(c.name("task")?),
            _ => return Err(c.bad_key(&key, TASK_KEYS)),
        }
    }
}

fn id(c: &mut Cursor<'_>) -> Result<u32, Error> {
    let place = c.place();
    c.number().and_then(|id| u32::try_from(id).map_err(|_| Error::new(place, "this is no user or group")))
}
