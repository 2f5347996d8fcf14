import { setTimeout as wait } from 'node:timers/promises';

/** How long the Supervisor may take for an answer, and how long until it is asked again, in milliseconds. */
const ANSWER_MS = 10_000;
const AGAIN_MS = 10_000;

/**
 * The broker of this Home Assistant and the login for it, as the Supervisor's services say
 * (developers.home-assistant.io, "Supervisor API", /services/mqtt). Where there is none yet it waits for one.
 *
 * @param {string} url of the Supervisor
 * @param {string} token
 * @param {(message: string) => void} tell people what it waits for, once for each reason
 * @param {number} [againMs] until it is asked again
 * @returns {Promise<import('./settings.js').Broker>}
 */
export async function brokerOf(url, token, tell, againMs = AGAIN_MS) {
  let told = '';
  for (;;) {
    const answer = await ask(`${url}/services/mqtt`, token);
    if (typeof answer !== 'string') return answer;
    if (answer !== told) tell(answer);
    told = answer;
    await wait(againMs);
  }
}

/** What the services say of MQTT, or in words why that is not known. */
async function ask(url, token) {
  let response;
  try {
    response = await fetch(url, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch (error) {
    return `The Supervisor does not answer (${error.cause?.code ?? error.name}); it is asked again.`;
  }
  const { data } = await response.json().catch(() => ({}));
  if (response.ok && typeof data?.host === 'string') return data;
  if (response.status === 401 || response.status === 403) {
    return 'The Supervisor does not let this app ask for the broker; it is asked again.';
  }
  return (
    'There is no broker yet: install the app "Mosquitto broker", start it, and set up the integration "MQTT" ' +
    '(Settings, Devices & services). This app goes on by itself then.'
  );
}
