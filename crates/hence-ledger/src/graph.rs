//! An answer as a graph: Mermaid or DOT. Causes point to their effects.

use crate::answer::Answer;
use crate::path::{Root, Step};
use crate::record::Rule;
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// Nodes and edges of an answer: texts, and `(from, to, label)` by position.
fn graph(answer: &Answer) -> (Vec<String>, Vec<(usize, usize, String)>) {
    let mut nodes: Vec<String> = answer.chain.iter().map(step).collect();
    let mut edges: Vec<(usize, usize, String)> =
        (1..nodes.len()).map(|nth| (nth, nth - 1, rule(answer.chain[nth - 1].rule.as_ref()))).collect();
    // The chain's own root is its last step already; further ones lead to the event on ways not shown.
    for root in answer.roots.iter().skip(usize::from(!answer.chain.is_empty())) {
        nodes.push(root_text(root));
        edges.push((nodes.len() - 1, 0, String::new()));
    }
    if answer.left_behind.processes > 0 {
        let left = &answer.left_behind;
        nodes.push(format!("{} left-over processes", left.processes));
        edges.push((0, nodes.len() - 1, rule(left.rule.as_ref())));
    }
    (nodes, edges)
}

fn step(step: &Step) -> String {
    match &step.unit {
        Some(unit) => format!("{unit}\n{}", step.what),
        None => step.what.clone(),
    }
}

fn root_text(root: &Root) -> String {
    root.what.clone()
}

fn rule(rule: Option<&Rule>) -> String {
    match rule {
        Some(Rule { directive, file: Some(file), line }) if *line > 0 => {
            format!("{directive}\n{file}:{line}")
        }
        Some(rule) => rule.directive.to_string(),
        None => String::new(),
    }
}

/// Mermaid, <https://mermaid.js.org/syntax/flowchart.html>.
pub fn mermaid(answer: &Answer) -> String {
    let (nodes, edges) = graph(answer);
    let mut text = String::from("flowchart TD\n");
    for (nth, node) in nodes.iter().enumerate() {
        text.push_str(&format!("  n{nth}[\"{}\"]\n", mermaid_text(node)));
    }
    for (from, to, label) in edges {
        match label.is_empty() {
            true => text.push_str(&format!("  n{from} --> n{to}\n")),
            false => text.push_str(&format!("  n{from} -->|\"{}\"| n{to}\n", mermaid_text(&label))),
        }
    }
    text
}

/// Whatever Mermaid or HTML could take for syntax, as an entity code.
fn mermaid_text(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("<br/>"),
            c if c.is_control() => escaped.push(' '),
            '"' | '#' | '&' | '<' | '>' | ';' | '`' | '|' | '[' | ']' | '{' | '}' | '\\' => {
                escaped.push_str(&format!("#{};", c as u32));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// DOT, <https://graphviz.org/doc/info/lang.html>.
pub fn dot(answer: &Answer) -> String {
    let (nodes, edges) = graph(answer);
    let mut text = String::from("digraph why {\n  node [shape=box];\n");
    for (nth, node) in nodes.iter().enumerate() {
        text.push_str(&format!("  n{nth} [label=\"{}\"];\n", dot_text(node)));
    }
    for (from, to, label) in edges {
        match label.is_empty() {
            true => text.push_str(&format!("  n{from} -> n{to};\n")),
            false => text.push_str(&format!("  n{from} -> n{to} [label=\"{}\"];\n", dot_text(&label))),
        }
    }
    text.push_str("}\n");
    text
}

fn dot_text(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
