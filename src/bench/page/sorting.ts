/**
 * JavaScript for a page: sorts its tables by the column whose heading, a button, is pressed. Cells have their value in
 * `data-value`; the first column is sorted as text, and rows without a value come last.
 */
export const SORTING = `
for(const table of document.querySelectorAll('table')){
  for(const [column,head] of [...table.querySelectorAll('th')].entries()){
    head.querySelector('button')?.addEventListener('click',()=>{
      const up=head.getAttribute('aria-sort')!=='ascending';
      for(const other of table.querySelectorAll('th'))other.removeAttribute('aria-sort');
      head.setAttribute('aria-sort',up?'ascending':'descending');
      const key=(row)=>row.cells[column].dataset.value;
      const rows=[...table.tBodies[0].rows].sort((a,b)=>{
        const [left,right]=[key(a),key(b)];
        if(left===undefined||right===undefined)return Number(left===undefined)-Number(right===undefined);
        const order=column===0?left.localeCompare(right,undefined,{numeric:true}):Number(left)-Number(right);
        return up?order:-order;
      });
      table.tBodies[0].append(...rows);
    });
  }
}
`;
