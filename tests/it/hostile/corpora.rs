//! The fuzz targets' twins: every committed input, and some random ones, on every run of the suite.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::fuzzed;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 11] = [
    ("mailbox_row", fuzzed::mailbox_row),
    ("tronk", fuzzed::tronk),
    ("alta", fuzzed::alta),
    ("rlab", fuzzed::rlab),
    ("vagvin", fuzzed::vagvin),
    ("nearly", fuzzed::nearly),
    ("callback", fuzzed::callback),
    ("config", fuzzed::config),
    ("sse", fuzzed::sse),
    ("cursor", fuzzed::cursor),
    ("duration", fuzzed::duration),
];

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut all: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    all.sort();
    all.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn every_committed_input_of_every_target_holds() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() >= 5, "{name} has {} inputs", corpus.len());
        corpus.iter().for_each(|input| target(input));
    }
}

#[test]
fn every_target_of_the_fuzzer_is_here() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let mut there: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut here: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    there.sort();
    here.sort();
    assert_eq!(here, there);
}

/// A committed input with some bytes put in others' places, or bytes of nobody.
fn inputs() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let all: Vec<(usize, Vec<u8>)> = TARGETS
        .iter()
        .enumerate()
        .flat_map(|(at, (name, _))| corpus(name).into_iter().map(move |input| (at, input)))
        .collect();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let cut = any::<prop::sample::Index>();
    let changed =
        (prop::sample::select(all), changes, cut, any::<bool>()).prop_map(|((at, mut input), changes, cut, is_cut)| {
            for (place, byte) in changes {
                if !input.is_empty() {
                    let place = place.index(input.len());
                    input[place] = byte;
                }
            }
            if is_cut && !input.is_empty() {
                input.truncate(cut.index(input.len()));
            }
            (at, input)
        });
    prop_oneof![4 => changed, 1 => (0..TARGETS.len(), prop::collection::vec(any::<u8>(), 0..256))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn inputs_that_are_nearly_the_committed_ones_hold_too((at, input) in inputs()) {
        TARGETS[at].1(&input);
    }
}
