//! All patterns in one tree with links back (Aho and Corasick), over bytes, one step at a time: the search moves through it
//! by several readings of one text at once, which no ready-made automaton lets it do.

use std::collections::{BTreeMap, VecDeque};

/// A place in the tree; the root is 0.
pub type Node = u32;

#[derive(Debug, Clone, Default)]
struct State {
    /// The longest proper end of this place's text that begins a pattern, too.
    back: Node,
    depth: u32,
    /// Its ways on: a range in `ways`.
    first: u32,
    count: u16,
    /// The pattern that ends here.
    ends: Option<u32>,
    /// The nearest place on the way back where a pattern ends.
    ends_before: Node,
}

#[derive(Debug, Clone)]
pub struct Automaton {
    states: Vec<State>,
    ways: Vec<(u8, Node)>,
    root: Box<[Node; 256]>,
    /// Which byte goes on from which first byte: most steps of a search end here.
    pairs: Box<[[u64; 4]; 256]>,
}

impl Automaton {
    pub fn new<'a>(patterns: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut tree, mut ends) = (vec![BTreeMap::new()], BTreeMap::new());
        for (pattern, text) in patterns.enumerate() {
            let mut node = 0;
            for byte in text {
                let next = tree.len();
                node = *tree[node].entry(*byte).or_insert(next);
                if node == next {
                    tree.push(BTreeMap::<u8, usize>::new());
                }
            }
            ends.entry(node).or_insert(pattern as u32);
        }
        Self::linked(&tree, &ends)
    }

    fn linked(tree: &[BTreeMap<u8, usize>], ends: &BTreeMap<usize, u32>) -> Self {
        let mut automaton = Self {
            states: vec![State::default(); tree.len()],
            ways: Vec::with_capacity(tree.len()),
            root: Box::new([0; 256]),
            pairs: Box::new([[0; 4]; 256]),
        };
        for (node, ways) in tree.iter().enumerate() {
            let state = &mut automaton.states[node];
            (state.first, state.count) = (automaton.ways.len() as u32, ways.len() as u16);
            state.ends = ends.get(&node).copied();
            automaton.ways.extend(ways.iter().map(|(byte, next)| (*byte, *next as Node)));
        }
        for (byte, next) in &tree[0] {
            automaton.root[usize::from(*byte)] = *next as Node;
            for second in tree[*next].keys() {
                automaton.pairs[usize::from(*byte)][usize::from(second >> 6)] |= 1 << (second & 63);
            }
        }
        // Breadth first: a place is linked after all that are nearer to the root.
        let mut left = VecDeque::from([0_usize]);
        while let Some(node) = left.pop_front() {
            for (byte, next) in &tree[node] {
                let back = if node == 0 { 0 } else { automaton.step(automaton.states[node].back, *byte) };
                let depth = automaton.states[node].depth + 1;
                let behind = &automaton.states[back as usize];
                let ends_before = if behind.ends.is_some() { back } else { behind.ends_before };
                let state = &mut automaton.states[*next];
                (state.back, state.depth, state.ends_before) = (back, depth, ends_before);
                left.push_back(*next);
            }
        }
        automaton
    }

    /// From the root.
    #[inline]
    pub fn start(&self, byte: u8) -> Node {
        self.root[usize::from(byte)]
    }

    /// Whether `second` goes on where `first` began.
    #[inline]
    pub fn pair(&self, first: u8, second: u8) -> bool {
        self.pairs[usize::from(first)][usize::from(second >> 6)] >> (second & 63) & 1 == 1
    }

    pub fn step(&self, mut node: Node, byte: u8) -> Node {
        while node != 0 {
            let state = &self.states[node as usize];
            let first = state.first as usize;
            let ways = &self.ways[first..first + usize::from(state.count)];
            if let Some((_, next)) = ways.iter().find(|(way, _)| *way == byte) {
                return *next;
            }
            node = state.back;
        }
        self.start(byte)
    }

    /// How many bytes of a pattern have been read.
    pub fn depth(&self, node: Node) -> usize {
        self.states[node as usize].depth as usize
    }

    /// The patterns that end here, the longest first.
    pub fn ends(&self, node: Node) -> impl Iterator<Item = usize> + '_ {
        let mut at = Some(node);
        std::iter::from_fn(move || {
            loop {
                let state = &self.states[at? as usize];
                at = Some(state.ends_before).filter(|before| *before != 0);
                if let Some(pattern) = state.ends {
                    return Some(pattern as usize);
                }
            }
        })
    }

    #[inline]
    pub fn has_ends(&self, node: Node) -> bool {
        let state = &self.states[node as usize];
        state.ends.is_some() || state.ends_before != 0
    }
}
