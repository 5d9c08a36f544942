//! What every page of HTML here has: one look, one head, text that can't do harm. A page loads nothing from
//! elsewhere, runs no script, and can be read without colour and on a phone.

const STYLE: &str = "\
:root{color-scheme:light dark}
*{box-sizing:border-box}
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;padding:12px;max-width:46rem;overflow-wrap:anywhere}
h1{font-size:1.25rem;line-height:1.3}
h2{font-size:1.05rem;margin:1.6em 0 .4em;border-bottom:1px solid currentColor}
.bad{border-left:5px solid currentColor;padding-left:10px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:3px 8px 3px 0;border-bottom:1px solid #8886;vertical-align:top}
td.n,th.n{text-align:right}
th,td.n,td.t{white-space:nowrap}
td.t{padding-right:14px}
svg{display:block;width:100%;max-width:30rem;height:auto;margin:.6em 0}
svg text{font:12px system-ui,sans-serif;fill:currentColor}
svg text.head{font-weight:bold}
svg text.rule{font-size:10.5px}
svg text.end{text-anchor:end}
svg text.middle{text-anchor:middle}
svg .axis,svg rect{fill:none;stroke:currentColor;stroke-width:1.2}
svg .line{fill:none;stroke:currentColor;stroke-width:2.5}
svg .limit{fill:none;stroke:currentColor;stroke-width:1.5;stroke-dasharray:6 4}
svg circle{fill:currentColor}
ul{padding-left:1.2em}
@media print{body{max-width:none}}
";

/// The width of every picture in its own units; a phone shows it as it is, a wide screen larger.
pub const WIDTH: u64 = 360;

/// The beginning of a page up to its answer.
pub fn head(title: &str, answer: &str, bad: bool) -> String {
    let bad = if bad { " class=\"bad\"" } else { "" };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1{bad} id=\"answer\">{}</h1>\n",
        escaped(title),
        escaped(answer)
    )
}

/// The end of a page, with the JSON of the same answer for programs.
pub fn foot(id: &str, json: &str) -> String {
    // In JSON a < can only stand in a string, where it may be written so.
    let json = json.replace('<', "\\u003c");
    format!("<script type=\"application/json\" id=\"{id}\">\n{json}\n</script>\n</body>\n</html>\n")
}

/// Text that stands in HTML, in SVG and in XML.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c if c.is_control() => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(escaped("<a b=\"c\">&\u{1}"), "&lt;a b=&quot;c&quot;&gt;&amp;\u{fffd}");
    }
}
