/** The dialog for address and key of the service. */
import { find } from './dom.ts';
import { addressProblem, type Settings } from './settings.ts';

export function settingsDialog(settings: Settings, onSave: () => void): { open: () => void } {
  const dialog = find('settings', HTMLDialogElement);
  const address = find('base-url', HTMLInputElement);
  const key = find('api-key', HTMLInputElement);
  const error = find('settings-error', HTMLElement);

  find('settings-form', HTMLFormElement).addEventListener('submit', (event) => {
    const entered = address.value.trim();
    const problem = addressProblem(entered);
    if (problem !== undefined) {
      event.preventDefault();
      error.textContent = problem;
      address.focus();
      return;
    }
    Object.assign(settings, { baseUrl: entered, key: key.value.trim() });
    onSave();
  });
  find('cancel-settings', HTMLButtonElement).addEventListener('click', () => dialog.close());

  return {
    open() {
      address.value = settings.baseUrl;
      key.value = settings.key;
      error.textContent = '';
      dialog.showModal();
    },
  };
}
