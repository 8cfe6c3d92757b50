//! The line of `127.0.1.1`, the address by which Debian lets a machine find itself.

const ADDRESS: &str = "127.0.1.1";

/// The text with the machine's names in it, or `None` where they are there. `old_name` is what the machine was called
/// before: it goes from that line. Other names and comments stay.
pub fn edit(text: &str, name: &str, full_name: Option<&str>, old_name: &str) -> Option<String> {
    let own: Vec<&str> = full_name.into_iter().chain([name]).collect();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let at = lines.iter().position(|line| address(line) == Some(ADDRESS));
    if let Some(line) = at.and_then(|at| lines.get(at)) {
        let names = names(line);
        // The first name is what the others are resolved to.
        if names.starts_with(&own) || (full_name.is_none() && names.contains(&name)) {
            return None;
        }
        let (end, comment) = (end_of(line), comment(line));
        let kept = names
            .iter()
            .copied()
            .filter(|other| !own.contains(other) && !is_old(other, old_name));
        let all: Vec<&str> = own.iter().copied().chain(kept).collect();
        let new = format!("{ADDRESS}\t{}{comment}{end}", all.join(" "));
        return Some(
            lines
                .iter()
                .enumerate()
                .map(|(n, line)| if Some(n) == at { new.as_str() } else { line })
                .collect(),
        );
    }
    let after = lines
        .iter()
        .rposition(|line| address(line) == Some("127.0.0.1"))
        .map_or(0, |at| at + 1);
    let (head, tail) = lines.split_at_checked(after).unwrap_or((&lines, &[]));
    let mut new = head.concat();
    if !new.is_empty() && !new.ends_with('\n') {
        new.push('\n');
    }
    new.push_str(&format!("{ADDRESS}\t{}\n", own.join(" ")));
    new.push_str(&tail.concat());
    Some(new)
}

fn is_old(name: &str, old_name: &str) -> bool {
    !old_name.is_empty()
        && (name == old_name
            || name
                .strip_prefix(old_name)
                .is_some_and(|rest| rest.starts_with('.')))
}

fn body(line: &str) -> &str {
    line.split('#').next().unwrap_or_default()
}

fn comment(line: &str) -> String {
    match line.split_once('#') {
        Some((_, comment)) => format!(" #{}", comment.trim_end_matches(['\r', '\n'])),
        None => String::new(),
    }
}

fn end_of(line: &str) -> &str {
    line.get(line.trim_end_matches(['\r', '\n']).len()..)
        .unwrap_or_default()
}

fn address(line: &str) -> Option<&str> {
    body(line).split_whitespace().next()
}

fn names(line: &str) -> Vec<&str> {
    body(line).split_whitespace().skip(1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str =
        "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost\n\n127.0.1.1\t\traspberrypi\n";

    #[test]
    fn the_images_name_gives_way_and_a_second_edit_finds_nothing_to_do() {
        let new = edit(IMAGE, "pi5-01", None, "raspberrypi").unwrap();
        assert_eq!(new, IMAGE.replace("\t\traspberrypi", "\tpi5-01"));
        assert_eq!(edit(&new, "pi5-01", None, "raspberrypi"), None);
        let full = edit(&new, "pi5-01", Some("pi5-01.lab.example"), "raspberrypi").unwrap();
        assert!(
            full.ends_with("127.0.1.1\tpi5-01.lab.example pi5-01\n"),
            "{full}"
        );
        assert_eq!(edit(&full, "pi5-01", Some("pi5-01.lab.example"), "x"), None);
    }

    #[test]
    fn other_names_and_comments_stay_and_full_names_of_the_old_one_go() {
        let line = "127.0.1.1 old.example old nas # mine\r\n";
        assert_eq!(
            edit(line, "new", None, "old").unwrap(),
            "127.0.1.1\tnew nas # mine\r\n"
        );
    }

    #[test]
    fn a_missing_line_comes_after_the_one_of_localhost() {
        assert_eq!(edit("", "a", None, "").unwrap(), "127.0.1.1\ta\n");
        assert_eq!(
            edit("127.0.0.1 localhost\n::1 x", "a", None, "b").unwrap(),
            "127.0.0.1 localhost\n127.0.1.1\ta\n::1 x"
        );
        assert_eq!(
            edit("#127.0.1.1 a\n127.0.0.1 localhost", "a", None, "b").unwrap(),
            "#127.0.1.1 a\n127.0.0.1 localhost\n127.0.1.1\ta\n"
        );
    }
}
