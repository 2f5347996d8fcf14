import type { OnnxNode, OnnxTensor } from './onnx.js';

/** A whole number among the attributes of a node, or `otherwise` where it has none of that name. */
export function intOf(node: OnnxNode, name: string, otherwise: number): number {
  const attribute = node.attributes?.[name];
  return attribute !== undefined && 'int' in attribute ? attribute.int : otherwise;
}

/** A list of whole numbers among the attributes of a node; empty where it has none of that name. */
export function intsOf(node: OnnxNode, name: string): readonly number[] {
  const attribute = node.attributes?.[name];
  return attribute !== undefined && 'ints' in attribute ? attribute.ints : [];
}

/** The numbers of a constant that is a list of whole numbers; empty where it is none. */
export function integersOf(constant: OnnxTensor | undefined): number[] {
  return constant?.type === 'int64' ? Array.from(constant.data, Number) : [];
}
