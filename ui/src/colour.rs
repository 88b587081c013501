//! The colour of a service: one of twelve hues of equal lightness, chosen by its name, the same in both themes. None is
//! red, amber or green, which mean error, warning and nothing.

/// Teal to rose, sixteen degrees apart; every other one is paler, so that neighbours can be told apart.
const HUES: [(u16, &str); 12] = [
    (190, "0.13"),
    (212, "0.07"),
    (234, "0.14"),
    (250, "0.08"),
    (266, "0.16"),
    (280, "0.09"),
    (295, "0.17"),
    (309, "0.09"),
    (323, "0.18"),
    (337, "0.10"),
    (350, "0.17"),
    (2, "0.09"),
];

/// FNV-1a: small, and the same wherever it runs.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

/// The index of the hue, for tests and legends.
pub fn hue_index(service: &str) -> usize {
    // The low bits of FNV mix badly for short names; fold the high ones in.
    let h = hash(service);
    ((h ^ (h >> 15) ^ (h >> 23)) % HUES.len() as u32) as usize
}

/// A CSS colour.
pub fn of_service(service: &str) -> String {
    of_index(hue_index(service))
}

/// A CSS colour by position, for the series of a chart.
pub fn of_index(index: usize) -> String {
    let (hue, chroma) = HUES[index % HUES.len()];
    format!("oklch(0.68 {chroma} {hue})")
}

/// A CSS colour for the n-th series of one chart: steps through the hues so that the first few lie far apart.
pub fn of_series(n: usize) -> String {
    of_index(n * 5 + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_spread_over_the_hues_and_stay_put() {
        assert_eq!(of_service("cart"), of_service("cart"));
        let mut used = [0; 12];
        for n in 0..600 {
            used[hue_index(&format!("ts-service-{n}"))] += 1;
        }
        assert!(used.iter().all(|n| *n > 20), "{used:?}");
        let first: Vec<usize> = (0..12).map(|n| (n * 5 + 4) % 12).collect();
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..12).collect::<Vec<_>>());
    }
}
