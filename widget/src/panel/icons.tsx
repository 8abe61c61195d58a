export const icon = (d: string) => () => (
  <svg viewBox="0 0 24 24" aria-hidden="true">
    <path d={d} />
  </svg>
);

export const CloseIcon = icon("M6 6l12 12M18 6 6 18");
export const NewIcon = icon(
  "M12 20H5.5A1.5 1.5 0 0 1 4 18.5V6.5A1.5 1.5 0 0 1 5.5 5H11M18 3.5 20.5 6 12.5 14l-3.5 1 1-3.5z",
);
export const SendIcon = icon("M12 19V5M6 11l6-6 6 6");
export const StopIcon = icon("M7.5 7.5h9v9h-9z");
export const DownIcon = icon("M12 5v14M6 13l6 6 6-6");
