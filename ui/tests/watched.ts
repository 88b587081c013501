// A page that is watched: console errors, uncaught ones and breaches of the content security policy fail the test, unless
// it says that a failing request is what it is about.
import AxeBuilder from '@axe-core/playwright';
import { type Page, expect, test as base } from '@playwright/test';

export { expect } from '@playwright/test';

export const test = base.extend<{ failingRequests: boolean }>({
  failingRequests: [false, { option: true }],
  page: async ({ page, failingRequests }, use) => {
    const complaints: string[] = [];
    page.on('pageerror', (error) => complaints.push(`uncaught: ${error}`));
    page.on('console', (message) => {
      const expected = failingRequests && message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !expected) complaints.push(`console: ${message.text()}`);
    });
    page.on('request', (request) => {
      const own = ['blob:', 'data:'].some((s) => request.url().startsWith(s));
      if (!own && new URL(request.url()).origin !== new URL(page.url() === 'about:blank' ? request.url() : page.url()).origin)
        complaints.push(`left the origin: ${request.url()}`);
    });
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`));
    });
    await use(page);
    expect(complaints).toEqual([]);
  },
});

/** No serious or critical finding of axe. */
export async function accessible(page: Page) {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']).analyze();
  const grave = violations.filter((v) => v.impact === 'serious' || v.impact === 'critical');
  expect(grave.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).slice(0, 3).join(' | ')}`)).toEqual([]);
}
