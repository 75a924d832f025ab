//! `/proc/swaps`, as `proc_swaps(5)` says: the areas that memory is swapped to.

use std::borrow::Cow;

use super::mountinfo::unescape;

/// The text is not what the kernel writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not an entry of the table of swap areas")]
pub struct NotSwaps {
    /// The first line that cannot be read, from 1.
    pub line: usize,
}

/// One swap area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap<'a> {
    /// A block device, by its node.
    Device(Cow<'a, [u8]>),
    /// A file.
    File(Cow<'a, [u8]>),
    /// A file that no name leads to any more.
    Deleted,
}

/// Reads the whole table.
pub fn parse(text: &[u8]) -> Result<Vec<Swap<'_>>, NotSwaps> {
    let mut lines = text.split(|b| *b == b'\n').enumerate();
    match lines.next() {
        Some((_, head)) if head.starts_with(b"Filename") => {}
        _ => return Err(NotSwaps { line: 1 }),
    }
    let area = |(i, line)| area(line).ok_or(NotSwaps { line: i + 1 });
    lines.filter(|(_, line)| !line.is_empty()).map(area).collect()
}

fn area(line: &[u8]) -> Option<Swap<'_>> {
    let mut fields = line.split(|b| matches!(b, b' ' | b'\t')).filter(|field| !field.is_empty());
    let (path, kind) = (fields.next()?, fields.next()?);
    let _size_used_priority = [fields.next()?, fields.next()?, fields.next()?];
    if fields.next().is_some() || !path.starts_with(b"/") {
        return None;
    }
    match kind {
        b"partition" => Some(Swap::Device(unescape(path))),
        b"file" if path.ends_with(b"\\040(deleted)") => Some(Swap::Deleted),
        b"file" => Some(Swap::File(unescape(path))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    #[test]
    fn devices_and_files_are_told_apart() {
        let text = format!(
            "{HEAD}/dev/dm-2                               partition\t65532\t\t0\t\t-2\n\
             /swap\\040file                           file\t\t16376\t\t0\t\t-3\n\
             /swap\\040(deleted)                      file\t\t16376\t\t0\t\t-4\n"
        );
        let name = |text: &'static str| Cow::Borrowed(text.as_bytes());
        assert_eq!(
            parse(text.as_bytes()),
            Ok(vec![
                Swap::Device(name("/dev/dm-2")),
                Swap::File(name("/swap file")),
                Swap::Deleted
            ])
        );
        assert_eq!(parse(HEAD.as_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_table_of_swap_areas_is_refused() {
        for (bad, line) in [
            (String::new(), 1),
            ("/dev/dm-2 partition 1 2 3\n".to_owned(), 1),
            (format!("{HEAD}/dev/dm-2 partition 1 2\n"), 2),
            (format!("{HEAD}/dev/dm-2 tape 1 2 3\n"), 2),
            (format!("{HEAD}dm-2 partition 1 2 3\n"), 2),
            (format!("{HEAD}/dev/dm-2 partition 1 2 3 4\n"), 2),
        ] {
            assert_eq!(parse(bad.as_bytes()), Err(NotSwaps { line }), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&[HEAD.as_bytes(), &bytes].concat());
        }
    }
}
