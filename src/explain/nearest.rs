//! Which of the names that exist was probably meant.

/// The names nearest to `wanted`, the nearest first, at most `most`: the same but for capitals or the suffix, or few
/// letters apart.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let lower = wanted.to_lowercase();
    let stem = |name: &str| name.rsplit_once('.').map_or_else(|| name.to_owned(), |(stem, _)| stem.to_owned());
    let mut scored: Vec<(usize, &str)> = names
        .into_iter()
        .filter_map(|name| {
            let other = name.to_lowercase();
            let distance = if other == lower {
                0
            } else if stem(&other) == stem(&lower) {
                1
            } else {
                distance(&lower, &other)
            };
            // A third of the letters may differ: beyond that it is another word.
            (distance <= (wanted.chars().count() / 3).max(1)).then_some((distance, name))
        })
        .collect();
    scored.sort();
    scored.into_iter().take(most).map(|(_, name)| name).collect()
}

/// Levenshtein's distance, with two neighbouring letters swapped counted as two.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
