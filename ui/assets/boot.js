// Starts the dashboard: the stored theme first, so that nothing flashes, then the wasm. Never asks another origin.
import init from './orrery.js';

try {
  const theme = localStorage.getItem('orrery.theme');
  if (theme === 'dark' || theme === 'light') document.documentElement.dataset.theme = theme;
} catch {
  // A browser that refuses storage follows the system's theme.
}

init({ module_or_path: new URL('./orrery_bg.wasm', import.meta.url) }).catch((error) => {
  const note = document.createElement('p');
  note.className = 'boot-error';
  note.textContent = `The dashboard could not be started: ${error}. A current browser with WebAssembly is needed.`;
  document.body.append(note);
});
