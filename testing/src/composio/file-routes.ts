import { randomBytes } from "node:crypto";
import type { Route } from "./route.ts";
import { Refusal } from "./wire.ts";

interface UploadBody {
  filename?: string;
  mimetype?: string;
  md5?: string;
  tool_slug?: string;
  toolkit_slug?: string;
}

/** What `report.pdf` holds until somebody puts something else there. */
const REPORT = Buffer.from("%PDF-1.4 a small report");

export const fileRoutes: Route[] = [
  {
    name: "files.request",
    method: "POST",
    path: "/files/upload/request",
    act({ body }, held) {
      const { filename, mimetype, md5 } = (body ?? {}) as UploadBody;
      if (!filename || !mimetype || !md5)
        throw new Refusal(400, "Validation_Failed", "filename, mimetype, md5 are required");
      const key = `${randomBytes(6).toString("hex")}-${filename}`;
      const signed = `${held.address()}/s3/${encodeURIComponent(key)}?signature=${randomBytes(8).toString("hex")}`;
      const metadata = { storage_backend: "s3" };
      return {
        status: 201,
        body: { id: `file_${key}`, key, type: "new", new_presigned_url: signed, newPresignedUrl: signed, metadata },
      };
    },
  },
  {
    name: "files.put",
    method: "PUT",
    path: "/s3/*",
    isOpen: true,
    act({ params, bytes, request }, held) {
      held.files.set(params[0] ?? "", { type: request.headers["content-type"] ?? "", bytes });
      return { status: 200, body: {} };
    },
  },
  {
    name: "files.get",
    method: "GET",
    path: "/s3/*",
    isOpen: true,
    act({ params, response }, held) {
      const name = params[0] ?? "";
      const file = held.files.get(name) ?? (name === "report.pdf" ? { type: "application/pdf", bytes: REPORT } : null);
      if (!file) throw new Refusal(404, "NoSuchKey", "The key does not exist");
      response.setHeader("content-type", file.type);
      response.end(file.bytes);
      return null;
    },
  },
];
