import java.io.File;
import java.nio.ByteBuffer;
import java.util.Random;

import org.apache.cassandra.io.sstable.CQLSSTableWriter;

/** Writes so many SSTables of about so many bytes each, with Cassandra's own writer: SSTables FOLDER TABLE COUNT BYTES. */
public class SSTables
{
    public static void main(String[] args) throws Exception
    {
        String table = args[1];
        File folder = new File(args[0], "bench/" + table);
        folder.mkdirs();
        int count = Integer.parseInt(args[2]);
        long bytes = Long.parseLong(args[3]);
        Random random = new Random(table.hashCode());
        for (int n = 0; n < count; n++)
        {
            CQLSSTableWriter writer = CQLSSTableWriter.builder()
                .inDirectory(folder.getAbsolutePath())
                .forTable("CREATE TABLE bench." + table + " (id bigint PRIMARY KEY, data blob)")
                .using("INSERT INTO bench." + table + " (id, data) VALUES (?, ?)")
                .build();
            for (long written = 0; written < bytes; written += 1024)
            {
                byte[] data = new byte[1000];
                random.nextBytes(data);
                writer.addRow(random.nextLong(), ByteBuffer.wrap(data));
            }
            writer.close();
        }
        System.exit(0);
    }
}
