import { cpus } from 'node:os';

/** What a report says of the machine that it was made on. */
export interface HostFacts {
  cpu: string;
  cores: number;
  node: string;
  platform: string;
}

export function hostFacts(): HostFacts {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown CPU',
    cores: processors.length,
    node: process.versions.node,
    platform: `${process.platform} ${process.arch}`,
  };
}
