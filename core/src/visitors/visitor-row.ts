/** What the way of a session needs of a visitor. */
export interface VisitorRow {
  id: string;
  external_id: string | null;
  created_at: Date;
  sessions_valid_after: Date | null;
}
