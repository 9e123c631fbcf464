// Light or dark: as the system has it until the user switches.

const root = document.documentElement;

if (localStorage.theme) root.dataset.theme = localStorage.theme;

export function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = localStorage.theme = now === "dark" ? "light" : "dark";
}
