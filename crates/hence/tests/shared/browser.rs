//! A page in a browser without a screen, where one is there, in a frame as wide as a phone.

use std::path::Path;
use std::process::Command;

/// A browser of the Chromium family.
pub fn installed() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let folders = std::env::var_os("PATH")?;
    let there = |name: &&str| std::env::split_paths(&folders).any(|f| f.join(name).is_file());
    names.into_iter().find(there)
}

/// The document as the browser has it, and what it said on stderr.
fn open(browser: &str, folder: &Path, page: &Path) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom"])
        .arg("--window-size=800,900")
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", page.display()))
        .env("HOME", folder)
        .output()
        .expect("the browser can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A page that holds the tested one in a frame of 390 px and notes what can't be seen there: what is wider
/// than the screen, and letters that are too small to read. NOTES is what else is noted of it.
const MEASURE: &str = "<!DOCTYPE html><meta charset=utf-8><body><script>
const f = document.createElement('iframe');
f.style.width = '390px'; f.style.height = '900px'; f.style.border = '0';
f.srcdoc = PAGE;
f.onload = () => {
  const d = f.contentDocument, w = f.contentWindow, r = [];
  r.push('wide:' + (d.documentElement.scrollWidth > 390));
  r.push('scripts:' + [...d.scripts].filter(s => s.type !== 'application/json').length);
  let least = 99;
  for (const t of d.querySelectorAll('svg text')) {
    const box = t.getBoundingClientRect();
    least = Math.min(least, parseFloat(w.getComputedStyle(t).fontSize) * t.getScreenCTM().a);
    if (box.left < 0 || box.right > 390.5) r.push('outside:' + t.textContent);
  }
  r.push('least:' + least.toFixed(1));
NOTES
  const out = document.createElement('pre'); out.id = 'found'; out.textContent = r.join('\\n');
  document.body.replaceChildren(out);
};
document.body.append(f);
</script>";

/// What was measured of a page.
pub struct Found(String);

impl Found {
    /// Opens the page, which holds what has the id `answer` and complains of nothing, then in the frame.
    /// `notes` is a script that pushes `key:value` to `r`, with the page's document as `d`.
    pub fn of(browser: &str, folder: &Path, page: &Path, notes: &str) -> Found {
        let (document, said) = open(browser, folder, page);
        assert!(document.contains("id=\"answer\""), "{document}{said}");
        let complaints: Vec<&str> = said.lines().filter(|l| l.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        let text = std::fs::read_to_string(page).expect("the page");
        let quoted = serde_json::to_string(&text).expect("text");
        let quoted = quoted.replace("</", "<\\/").replace("<!--", "<\\u0021--");
        let frame = folder.join("frame.html");
        let script = MEASURE.replace("NOTES", notes).replace("PAGE", &quoted);
        std::fs::write(&frame, script).expect("a file");
        let (document, said) = open(browser, folder, &frame);
        let found = document.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        Found(found.unwrap_or_else(|| panic!("nothing was measured: {document}\n{said}")).to_owned())
    }

    /// What was noted under this key.
    pub fn value(&self, key: &str) -> &str {
        let line = self.0.lines().find_map(|l| l.strip_prefix(key).and_then(|rest| rest.strip_prefix(':')));
        line.unwrap_or_else(|| panic!("no {key} in {}", self.0))
    }

    /// It fits the frame, its letters can be read there, and it runs nothing.
    pub fn fits(&self) {
        let found = &self.0;
        assert_eq!((self.value("wide"), self.value("scripts")), ("false", "0"), "{found}");
        assert!(self.value("least").parse::<f64>().is_ok_and(|least| least >= 10.0), "{found}");
        assert!(!found.contains("outside:"), "{found}");
    }
}
