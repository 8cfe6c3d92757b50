//! Accounts, sudo, file systems, clock.

use super::mounts::mount_of;
use super::reply::{Reply, lines};
use super::stats::Stats;
use super::texts::Texts;
use crate::facts::fact::{Account, Clock, Disk, FactError, Sudo};
use crate::facts::questions::{self, LOCALTIME, Place};

/// From the system's databases by getent, or from the files where there is none or a root prefix is given.
pub fn account(reply: &Reply<'_>, texts: &Texts, name: &str) -> Result<Account, FactError> {
    if !questions::is_account_name(name) {
        return Err(FactError::Failed(format!("{name:?} is not a login name")));
    }
    let file = |path| -> Result<String, FactError> {
        Ok(texts.text(Place::Root, path)?.unwrap_or_default())
    };
    // A database that was not read must not look like one without the account. `answers`: getent's statuses that are
    // answers, getent(1): 0 all found, 2 not all names found.
    let database = |frame: &str, path, answers: &[&str]| -> Result<String, FactError> {
        match reply.get(frame) {
            Some(part) if answers.contains(&part.status()) => Ok(part.whole()?.text()),
            Some(part) => Err(part.whole().err().unwrap_or_else(|| {
                let status = part.status();
                FactError::Failed(format!("`getent {frame}` ended with status {status}"))
            })),
            None => file(path),
        }
    };
    let users = database("passwd", "/etc/passwd", &["0", "2"])?;
    let groups = database("group", "/etc/group", &["0"])?;
    find_account(&users, &groups, name).ok_or(FactError::NotFound)
}

/// An account, from the texts of /etc/passwd and /etc/group.
pub fn find_account(users: &str, groups: &str, name: &str) -> Option<Account> {
    let fields: Vec<&str> = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name) && fields.len() >= 7)?;
    let gid: u32 = fields.get(3)?.parse().ok()?;
    let mut member_of: Vec<String> = groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let (group, _, number) = (fields.next()?, fields.next()?, fields.next()?);
            let members = fields.next().unwrap_or_default();
            (number.parse() == Ok(gid) || members.split(',').any(|member| member == name))
                .then(|| group.to_owned())
        })
        .collect();
    member_of.sort();
    member_of.dedup();
    Some(Account {
        uid: fields.get(2)?.parse().ok()?,
        gid,
        home: (*fields.get(5)?).to_owned(),
        shell: (*fields.get(6)?).to_owned(),
        groups: member_of,
    })
}

/// As root sudo is not tried: where it is installed, root may use it.
pub fn sudo(reply: &Reply<'_>) -> Result<Sudo, FactError> {
    let part = reply.part("who", "who")?.whole()?;
    let text = part.text();
    let mut lines = text.lines();
    let uid: u32 = lines
        .next()
        .and_then(|line| line.parse().ok())
        .ok_or_else(|| part.missing())?;
    let is_root = uid == 0;
    let installed = lines.next() == Some("sudo");
    let passwordless = if is_root {
        installed
    } else if installed {
        let tried = reply.part("sudo", "sudo")?.whole()?;
        tried.succeeded()
    } else {
        false
    };
    Ok(Sudo {
        is_root,
        installed,
        passwordless,
    })
}

/// `place`: of the path among those asked for.
pub fn disk(reply: &Reply<'_>, texts: &Texts, place: usize) -> Result<Disk, FactError> {
    let paths = reply.part("disk-path", "disk")?.whole()?;
    let real = records_of(paths.mark, paths.body)
        .into_iter()
        .nth(place)
        .ok_or_else(|| paths.missing())?;
    if real.is_empty() {
        return Err(FactError::Denied);
    }
    let part = reply.part("disk", "disk")?.whole()?;
    let numbers = stat_numbers(&part.text(), part.mark, &real).ok_or_else(|| part.missing())?;
    let mounts = texts
        .text(Place::Machine, "/proc/self/mountinfo")?
        .unwrap_or_default();
    let mut disk = mount_of(&mounts, &real);
    let [block, blocks, free, inodes, inodes_free] = numbers;
    disk.size = blocks.saturating_mul(block);
    disk.free = free.saturating_mul(block);
    (disk.inodes, disk.inodes_free) = (inodes, inodes_free);
    Ok(disk)
}

/// Lines `MARK;PATH`.
fn records_of(mark: &str, body: &[u8]) -> Vec<String> {
    let mark = format!("{mark};");
    lines(body)
        .filter_map(|line| line.strip_prefix(&mark).map(str::to_owned))
        .collect()
}

/// Block size, blocks, blocks free for users, inodes, inodes free: the line after `MARK;PATH`.
fn stat_numbers(text: &str, mark: &str, path: &str) -> Option<[u64; 5]> {
    let head = format!("{mark};{path}");
    let line = text.lines().skip_while(|line| *line != head).nth(1)?;
    let numbers: Vec<u64> = line
        .split(' ')
        .map_while(|word| word.parse().ok())
        .collect();
    numbers.try_into().ok()
}

pub fn clock(reply: &Reply<'_>, texts: &Texts, stats: &Stats) -> Result<Clock, FactError> {
    let part = reply.part("date", "date")?.whole()?;
    let now_ms = milliseconds(part.text().trim()).ok_or_else(|| part.missing())?;
    let uptime = texts.machine("/proc/uptime");
    let uptime = uptime.split(' ').next().unwrap_or_default();
    let synchronized = reply.get("timedate").and_then(|part| {
        part.text()
            .trim()
            .strip_prefix("NTPSynchronized=")
            .map(|v| v == "yes")
    });
    let linked = stats
        .get(LOCALTIME)
        .ok()
        .and_then(|stat| stat.link_target)
        .and_then(|target| Some(target.split_once("zoneinfo/")?.1.to_owned()));
    let zone = match linked {
        Some(zone) => zone,
        None => texts
            .text(Place::Root, "/etc/timezone")?
            .unwrap_or_default(),
    };
    Ok(Clock {
        now_ms,
        uptime_ms: milliseconds(uptime)
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or_default(),
        synchronized,
        zone,
    })
}

/// `SECONDS.FRACTION`; busybox' `date` knows no fraction and leaves `%N`.
fn milliseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let ms = digits.parse::<i64>().unwrap_or(0);
    seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(ms)
}

/// What a machine's clock said in the frame of the date, in milliseconds: at least, and at most (it may know seconds
/// only).
pub fn date_range(frame: &[u8]) -> Option<(i64, i64)> {
    let text = String::from_utf8_lossy(frame);
    let least = milliseconds(text.trim())?;
    let fine = text
        .trim()
        .split_once('.')
        .is_some_and(|(_, fraction)| fraction.starts_with(|c: char| c.is_ascii_digit()));
    Some((least, if fine { least } else { least + 999 }))
}
