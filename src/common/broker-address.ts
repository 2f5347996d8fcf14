/** What the address of a broker begins with, before the `://`. */
export const BROKER_SCHEMES = ['mqtt', 'mqtts', 'ws', 'wss'] as const;

/** Whether what goes to the broker at this address is encrypted. */
export function isEncryptedAddress(address: string): boolean {
  return /^(mqtts|wss):/i.test(address);
}

/** What is for encrypted connections only. */
const TLS_SETTINGS = ['ca', 'cert', 'key', 'alpn'] as const;
export type TlsSetting = (typeof TLS_SETTINGS)[number];

/** What is wrong between the settings of TLS and the address of the broker. */
export type TlsProblem =
  | { problem: 'unencrypted'; setting: TlsSetting }
  | { problem: 'alone'; setting: 'cert' | 'key'; missing: 'cert' | 'key' };

/** The problems between the settings of TLS that are given, and whether there is an encrypted address for them. */
export function tlsProblems(isGiven: (setting: TlsSetting) => boolean, isEncrypted: boolean): TlsProblem[] {
  const problems: TlsProblem[] = [];
  const first = TLS_SETTINGS.find(isGiven);
  if (first !== undefined && !isEncrypted) problems.push({ problem: 'unencrypted', setting: first });
  if (isGiven('cert') !== isGiven('key')) {
    const [setting, missing] = isGiven('cert') ? (['cert', 'key'] as const) : (['key', 'cert'] as const);
    problems.push({ problem: 'alone', setting, missing });
  }
  return problems;
}
